import assert from 'node:assert/strict'
import test, { mock } from 'node:test'
import fc from 'fast-check'
import type { GatewayError } from '../../src/errors.ts'
import { createBucket } from '../../src/exchange/bucket.ts'

const NOW = 1_800_000_000_000

test('whatever comes and goes, no more leaves than the budget has, in order, none after its deadline', async () => {
  const arrival = fc.record({
    after: fc.integer({ min: 0, max: 300 }),
    patience: fc.integer({ min: 0, max: 2_000 }),
    leaves: fc.option(fc.integer({ min: 1, max: 600 })),
  })
  const rates = fc.constantFrom(1, 3, 8, 30, 200)
  await fc.assert(
    fc.asyncProperty(
      rates,
      fc.integer({ min: 1, max: 4 }),
      fc.array(arrival, { maxLength: 25 }),
      async (rate, burst, arrivals) => {
        mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
        try {
          await paced(rate, burst, arrivals)
        } finally {
          mock.timers.reset()
        }
      },
    ),
    { numRuns: 60 },
  )
})

interface Arrival {
  readonly after: number
  readonly patience: number
  readonly leaves: number | null
}

async function paced(rate: number, burst: number, arrivals: readonly Arrival[]): Promise<void> {
  const bucket = createBucket({ rate, burst })
  const order: number[] = []
  const times: number[] = []
  const faults: unknown[] = []
  let pending = arrivals.length
  for (const [at, { after, patience, leaves }] of arrivals.entries()) {
    await advance(after)
    const controller = new AbortController()
    const deadline = Date.now() + patience
    if (leaves !== null) setTimeout(() => controller.abort(new Error('left')), leaves)
    bucket
      .take({ signal: controller.signal, deadline })
      .then(
        () => {
          assert.ok(Date.now() <= deadline, 'left after its deadline')
          order.push(at)
          times.push(Date.now())
        },
        (error: Error) => {
          if (error.message === 'left') return
          assert.equal((error as GatewayError).code, 'exchange_unavailable')
        },
      )
      .finally(() => pending--)
      .catch((error: unknown) => faults.push(error))
    await turns()
  }
  await advance(3_000)
  assert.deepEqual(faults, [])
  assert.equal(pending, 0, 'somebody still waits')
  assert.deepEqual(
    order,
    [...order].sort((one, other) => one - other),
  )
  for (let from = 0; from < times.length; from++) {
    for (let to = from; to < times.length; to++) {
      // A timer comes up to a millisecond late, which is made up for.
      const most = burst + ((times[to]! - times[from]! + 1) * rate) / 1_000
      assert.ok(to - from + 1 <= most + 1e-9, `${to - from + 1} left where ${most} may`)
    }
  }
}

/** In steps that are finer than any pace here. */
async function advance(ms: number): Promise<void> {
  for (let at = 0; at < ms; at++) {
    mock.timers.tick(1)
    await turns()
  }
}

/** Enough for what is due to reach whoever waits for it. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await Promise.resolve()
}

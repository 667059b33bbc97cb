import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Kept } from '../../src/exchange/cache.ts'
import { createPurges } from '../../src/exchange/purge.ts'
import { sharing } from '../../src/exchange/shared.ts'
import { createMetrics } from '../../src/metrics.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { createSeals } from '../../src/store/seal.ts'
import type { SharedStore, Taken } from '../../src/store/shared.ts'
import { ask, issuedToken, permit } from '../support.ts'

const nothing = (claim: Taken['claim']): Taken => ({ claim, at: 1, values: [undefined], marks: [] })
const [HELD, MINE] = [nothing('held'), nothing('mine')]
const LATE = undefined

/** A look-up after the other is answered; says how many there were when the exchange was asked for. */
async function lookUps(answers: readonly (Taken | undefined)[], isConnected = true) {
  let asked = 0
  const store: SharedStore = {
    ...{ isConnected, started: Promise.resolve() },
    take: () => Promise.resolve(answers[asked++]),
    hold: () => undefined,
    fill: () => undefined,
    release: () => undefined,
    drop: () => undefined,
    keep: () => undefined,
    purge: () => Promise.resolve(undefined),
    told: () => Promise.resolve(undefined),
  }
  const { shared } = sharing({
    ...{ store, shareContext: false, metrics: createMetrics(), purges: createPurges() },
    seals: createSeals([Buffer.from('0123456789abcdef0123456789abcdef')]),
    memory: createMemoryStore<Kept>({ maxEntries: 10, maxBytes: 100_000 }),
    everywhere: {
      tell: () => undefined,
      isUntold: () => false,
      purgedAt: () => 0,
      close: () => undefined,
    },
  })
  let before = 0
  const exchange = shared(() => {
    before = asked
    return issuedToken()
  })
  await exchange(permit(), ask({ deadline: Date.now() + 60_000 }))
  return before
}

test('a look-up that is not answered is gone without', async () => {
  assert.equal(await lookUps([LATE]), 1)
})

test('who knows of a claim waits for news of it, however late they are', async () => {
  assert.equal(await lookUps([HELD, LATE, LATE, LATE, MINE]), 5)
})

test('who knows of a claim waits for none where the connection is lost', async () => {
  assert.equal(await lookUps([HELD, LATE, LATE, LATE, MINE], false), 2)
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { authorize, type Permit } from '../../src/authorize/authorize.ts'
import type { Config } from '../../src/config/config.ts'
import { GatewayError } from '../../src/errors.ts'
import { createMetrics } from '../../src/metrics.ts'
import { layered } from '../../src/server/layers.ts'
import { api, ask, issuedToken, issuer, route, subject } from '../support.ts'

const NOW = 1_800_000_000_000
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const STEP_MS = 125
const RATE = 8
const USERS = 60

test('an outage of ten minutes: nobody with a live entry notices, and its end spends no more than the budget', async (t) => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  const tenant = issuer({ budget: { rate: RATE, burst: 1 } })
  const storefront = api({ issuer: tenant })
  const to = route({ authenticate: { apis: [storefront] }, exchange: { maxAgeMs: 24 * HOUR } })
  const holder = (name: string): Permit =>
    authorize(
      subject({ subject: name, digest: name, api: storefront, expiresAt: NOW + 24 * HOUR }),
      to,
    )
  const sent: number[] = []
  let isDown = false
  const config = {
    issuers: [tenant],
    apis: [storefront],
    routes: [to],
    cache: { maxEntries: 1_000, maxBytes: 10_000_000 },
    server: { replicas: 1, workers: 1 },
  } as unknown as Config
  const { exchange } = layered(
    async ({ subject: user }) => {
      await Promise.resolve()
      sent.push(Date.now())
      if (isDown) throw new GatewayError('exchange_unavailable', 'down', { retryAfter: 1 })
      return issuedToken({ value: user.subject, expiresAt: Date.now() + HOUR })
    },
    config,
    { maxBytes: 10_000_000, metrics: createMetrics() },
  )

  const outcomes = { served: 0, told: 0 }
  const request = async (name: string): Promise<void> => {
    try {
      const token = await exchange(holder(name), ask({ deadline: Date.now() + 5_000 }))
      assert.equal(token.value, name)
      outcomes.served++
    } catch (error) {
      assert.equal((error as GatewayError).code, 'exchange_unavailable')
      outcomes.told++
    }
  }
  /** Everybody asks every two seconds; known users in every step of the clock that is theirs. */
  async function pass(ms: number, names: (step: number) => readonly string[]): Promise<void> {
    for (let step = 0; step * STEP_MS < ms; step++) {
      for (const name of names(step)) void request(name)
      for (let turn = 0; turn < 12; turn++) await Promise.resolve()
      t.mock.timers.tick(STEP_MS)
      for (let turn = 0; turn < 12; turn++) await Promise.resolve()
    }
  }
  const known = (step: number): readonly string[] => [`known ${step % USERS}`]

  await pass(20_000, known)
  assert.equal(sent.length, USERS)
  t.mock.timers.tick(45 * MINUTE)

  Object.assign(outcomes, { served: 0, told: 0 })
  isDown = true
  await pass(10 * MINUTE, known)
  assert.deepEqual(outcomes, { served: (10 * MINUTE) / STEP_MS, told: 0 })

  isDown = false
  const before = sent.length
  Object.assign(outcomes, { served: 0, told: 0 })
  const all = (step: number): readonly string[] => [...known(step), `new ${step}`]
  await pass(MINUTE, all)
  const after = sent.slice(before)
  assert.ok(after.length > 0.95 * RATE * 60, `${after.length} exchanges in the minute after`)
  for (const [index, at] of after.entries()) {
    const next = after[index + RATE]
    assert.ok(
      next === undefined || next - at >= 1_000 - STEP_MS,
      `${RATE + 1} exchanges in a second`,
    )
  }
  assert.ok(outcomes.served >= (MINUTE / STEP_MS) * 0.95, `${outcomes.served} were served`)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { createSavings } from '../../src/exchange/savings.ts'
import { createMetrics } from '../../src/metrics.ts'
import { startIssuer } from '../issuer.ts'
import { api, ask, issuedToken, issuer, permit } from '../support.ts'
import { bearer, oneRoute, startGateway, startUpstream } from '../system.ts'

const ONE = issuer({ name: 'one' })
const OTHER = issuer({ name: 'other' })

function savings() {
  const metrics = createMetrics()
  const made = createSavings([ONE, OTHER], metrics)
  const saved = (name: string): number => savedOf(metrics.render(), name)
  return { ...made, saved }
}

function savedOf(rendered: string, name: string): number {
  const [, value] =
    new RegExp(`^behalf_exchange_seconds_saved_total\\{issuer="${name}"\\} (\\S+)$`, 'm').exec(
      rendered,
    ) ?? []
  return Number(value)
}

const OF_ONE = permit({ subject: { api: api({ issuer: ONE }) } })
const taking =
  (ms: number): Exchange =>
  async () => {
    await sleep(ms)
    return issuedToken()
  }

test('a request that needs no exchange saves what one took, at its own issuer', async () => {
  const { timed, save, saved } = savings()
  await timed(taking(30))(OF_ONE, ask())
  save(ONE)
  const once = saved('one')
  assert.ok(once >= 0.029 && once < 5, String(once))
  save(ONE)
  assert.ok(Math.abs(saved('one') - 2 * once) < 1e-9)
  save(OTHER)
  assert.equal(saved('other'), 0)
})

test('until something is known nothing is saved, and a failure tells nothing', async () => {
  const { timed, save, saved } = savings()
  await assert.rejects(async () => timed(async () => Promise.reject(new Error()))(OF_ONE, ask()))
  save(ONE)
  assert.equal(saved('one'), 0)
})

test('what one exchange took counts for a tenth of what the next request saves', async () => {
  const { timed, save, saved } = savings()
  await timed(taking(100))(OF_ONE, ask())
  save(ONE)
  const first = saved('one')
  await timed(async () => issuedToken())(OF_ONE, ask())
  save(ONE)
  const second = saved('one') - first
  assert.ok(second < first && second >= first * 0.9, `${first} ${second}`)
})

test('hits and those who joined save time; a miss and a failure do not', async (t) => {
  const [issuing, upstream] = await Promise.all([startIssuer(t), startUpstream(t)])
  const setting = oneRoute({ issuer: issuing.url, upstream: upstream.origin })
  const gateway = await startGateway(t, setting)
  const saved = (): number => savedOf(gateway.metrics.render(), 'tenant')
  const ask = async (token: string): Promise<number> =>
    (await fetch(`${gateway.origin}/orders`, bearer(token))).status
  const own = await issuing.token()
  assert.equal(await ask(own), 200)
  while (!gateway.metrics.render().includes('outcome="miss"')) await sleep(1)
  assert.equal(saved(), 0)
  assert.equal(await ask(own), 200)
  while (!gateway.metrics.render().includes('outcome="hit"')) await sleep(1)
  const once = saved()
  assert.ok(once > 0)
  assert.equal(await ask('a.b.c'), 401)
  while (!gateway.metrics.render().includes('status="401"')) await sleep(1)
  assert.equal(saved(), once)
})

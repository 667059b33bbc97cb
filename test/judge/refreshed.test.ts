import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startIssuer } from '../issuer.ts'
import { bearer, oneRoute, startGateway, startUpstream } from '../system.ts'
import { judgeRefreshed } from './refreshed.ts'

test(
  'tokens that are only refreshed cost no exchange with key context, and each other claim costs one',
  { timeout: 300_000 },
  async (t) => {
    const { faults } = await judgeRefreshed(t, { users: 100, differing: 10 })
    assert.deepEqual(faults, [])
  },
)

const MINUTE = 60_000
const HOUR = 60 * MINUTE

for (const [what, key, each, total] of [
  ['subject tokens of an hour cost one exchange each', 'token', HOUR, 3],
  ['twin: what ends by itself is renewed ahead of its time', 'token', 3 * HOUR, 4],
] as const) {
  test(`a busy user's issued tokens of a day: ${what}`, { timeout: 60_000 }, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
    const issuer = await startIssuer(t)
    const upstream = await startUpstream(t)
    const day = { expires_in: 86_400 }
    issuer.answer = (form, response) => issuer.issue(form, response, day)
    // The twin's are used for an hour, though they and their subject token live on.
    const maxAge = each === HOUR ? '24h' : '1h'
    const setting = { issuer: issuer.url, upstream: upstream.origin, exchange: { key, maxAge } }
    const gateway = await startGateway(t, oneRoute(setting))
    let token = ''
    for (let at = 0; at < 3 * HOUR; at += 30_000) {
      if (at % each === 0) {
        const exp = Math.floor((Date.now() + each) / 1_000)
        token = await issuer.token({ exp })
      }
      const response = await fetch(`${gateway.origin}/orders`, bearer(token))
      assert.equal(response.status, 200, `after ${at / MINUTE} minutes`)
      await response.arrayBuffer()
      t.mock.timers.tick(30_000)
    }
    assert.equal(issuer.exchanges.length, total)
  })
}

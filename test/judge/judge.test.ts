/** Loads of `npm run judge` in sizes for every day; others stand in files of their own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeConcurrency } from './concurrency.ts'
import { judgeFraming } from './framing.ts'
import { judgeIdentity } from './identity.ts'
import { judgeOutage } from './outage.ts'

/** Nothing here waits for ever, on no machine. */
const bounded = { timeout: 300_000 }

test(
  '500 first requests at once make one exchange for each user, and each meets their own token',
  bounded,
  async () => {
    const { faults } = await judgeConcurrency({ callers: 500, users: 50, repetitions: 1 })
    assert.deepEqual(faults, [])
  },
)

test(
  'while the issuer is dead cached users notice nothing, and new ones are served on their return',
  bounded,
  async (t) => {
    const { faults } = await judgeOutage(t, {
      cached: 20,
      outages: 1,
      requests: 200,
      newcomers: 40,
    })
    assert.deepEqual(faults, [])
  },
)

test(
  'no method, framing or reuse makes two requests of one; the same load finds it in a naive proxy',
  bounded,
  async (t) => {
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']
    const { faults } = await judgeFraming(t, { methods, large: 300_000 })
    assert.deepEqual(faults, [])
  },
)

test(
  'among users, routes, aborts and wrong tokens nobody meets the token of another',
  bounded,
  async (t) => {
    const size = { requests: 2_500, users: 100, cacheEntries: 60 }
    const { faults } = await judgeIdentity(t, size, 1)
    assert.deepEqual(faults, [])
  },
)

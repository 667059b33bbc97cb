/* What may be used once, of all replicas, where what they share is spread over a Cluster: no step takes keys of two places. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holder, ORIGIN } from '../authenticate/proofs.ts'
import { renewing } from '../exchange/renewing.ts'
import { call, rotatingTenant } from '../exchange/rotating.ts'
import { allow, NO_REDIS, PASSWORD, type RedisCluster, startCluster, until } from '../redis.ts'
import { connected, gatewaysAt, order, SEALING_KEY } from '../replicas.ts'
import { type Gateway, startGateway, startUpstream } from '../system.ts'

/** Drops the issued tokens, when so many are there. */
async function endIssued({ nodes }: RedisCluster, count: number): Promise<void> {
  const masters = nodes.slice(0, 3)
  const entries = (): Promise<readonly string[][]> =>
    Promise.all(
      masters.map(async ({ command }) => (await command('KEYS', 'behalf:entry:*')) as string[]),
    )
  await until('issued tokens are shared', async () => (await entries()).flat().length >= count)
  for (const [index, names] of (await entries()).entries()) {
    for (const name of names) await masters[index]!.command('DEL', name)
  }
}

test(
  'in a Cluster a proof is taken once, a family is renewed once, and a token is redeemed by one at a time',
  { skip: NO_REDIS },
  async (t) => {
    const cluster = await startCluster(t)
    await Promise.all(cluster.nodes.map(allow))
    const where = { cluster: [cluster.urls[0]], user: 'behalf', password: PASSWORD, timeout: '10s' }

    await t.test('a proof, and a family', async (t) => {
      const all = await gatewaysAt(t, where)
      const tenant = renewing(all.issuer)
      const alice = await holder()
      const changes = {
        exchange: { renew: 'refresh-token' },
        api: { proofOfPossession: { mechanism: 'dpop', required: false } },
        server: { publicOrigin: ORIGIN },
      }
      const start = (): Promise<Gateway> => connected(all.replica(changes))
      const two = await Promise.all([start(), start()])
      const token = await all.issuer.token({ cnf: { jkt: alice.jkt } })
      const headers = { authorization: `DPoP ${token}`, dpop: await alice.proof(token) }
      const shown = await Promise.all(
        two.map(({ origin }) => fetch(`${origin}/orders`, { headers })),
      )
      assert.deepEqual(new Set(shown.map(({ status }) => status)), new Set([200, 401]))

      const plain = await all.issuer.token({ sub: 'bob' })
      assert.equal(await order(two[0], plain), 200)
      await endIssued(cluster, 2)
      const fresh = await Promise.all([start(), start()])
      assert.deepEqual(await Promise.all(fresh.map((one) => order(one, plain))), [200, 200])
      assert.deepEqual(tenant.asked(), ['exchange', 'exchange', 'refresh'])
    })

    await t.test('a token that callers bring', async (t) => {
      const rotating = await rotatingTenant(t)
      const upstream = await startUpstream(t)
      const cache = { redis: { ...where, sealingKeys: [SEALING_KEY] } }
      const configuration = { ...rotating.configuration(upstream.origin), cache }
      const replica = (): Promise<Gateway> => connected(startGateway(t, configuration))
      const [one, other] = await Promise.all([replica(), replica()])
      const alice = await rotating.login()
      rotating.tenant.fault({ kind: 'slow', delayMs: 100, grantType: 'refresh_token', times: 2 })
      const answers = await Promise.all([
        call({ gateway: one }, '/orders', alice),
        call({ gateway: other }, '/inventory', alice),
      ])
      assert.deepEqual(
        answers.map(({ status }) => status),
        [200, 200],
      )
      assert.equal(rotating.refreshes(), 2)
    })
  },
)

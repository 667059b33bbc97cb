/* Issued tokens that are bound to a gateway's key, between replicas that have the same key, or another. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { calculateJwkThumbprint, type JWK, type JWTPayload } from 'jose'
import { createDpopKey } from '../../src/exchange/dpop.ts'
import { createSeals } from '../../src/store/seal.ts'
import { NO_REDIS } from '../redis.ts'
import {
  connected,
  counted,
  entries,
  order,
  raw,
  SEALING_KEY,
  world,
  type Changes,
  type World,
} from '../replicas.ts'
import { claimsOf } from '../system.ts'

function newKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

const CLIENT = { id: 'storefront', secret: 'a-secret-of-the-storefront' }
const having = (dpopKey: string): Changes => ({
  exchange: { bound: 'dpop' },
  client: { ...CLIENT, dpopKey },
  redis: { timeout: '10s' },
})

/** An issuer that binds what it issues to the key whose proof it is shown. */
async function binding(t: TestContext): Promise<World> {
  const all = await world(t)
  all.issuer.answer = async (form, response) => {
    const [header = ''] = String(response.req.headers['dpop']).split('.')
    const { jwk } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { jwk: JWK }
    const access_token = await all.issuer.sign(issuedTo(await calculateJwkThumbprint(jwk)))
    await all.issuer.issue(form, response, { access_token, token_type: 'DPoP' })
  }
  return all
}

const issuedTo = (jkt: string): JWTPayload => ({
  ...{ sub: 'alice', aud: 'https://orders.internal', scope: 'orders:read' },
  cnf: { jkt },
})

test(
  'a replica with the same key uses what another exchanged, and one with another key exchanges anew',
  { skip: NO_REDIS },
  async (t) => {
    const all = await binding(t)
    const [same, another] = [newKey(), newKey()]
    const token = await all.issuer.token({ sub: 'alice' })
    for (const [key, exchanges] of [
      [same, 1],
      [same, 1],
      [another, 2],
      [same, 2],
      [another, 2],
    ] as const) {
      assert.equal(await order(await connected(all.replica(having(key))), token), 200)
      await entries(all, exchanges)
      assert.equal(all.issuer.exchanges.length, exchanges)
      const { headers } = all.upstream.received.at(-1)!
      const { thumbprint } = createDpopKey(key)
      assert.match(headers.authorization ?? '', /^DPoP /)
      assert.deepEqual(claimsOf(headers.authorization)['cnf'], { jkt: thumbprint })
      const [header = ''] = String(headers['dpop']).split('.')
      const { jwk } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { jwk: JWK }
      assert.equal(await calculateJwkThumbprint(jwk), thumbprint)
    }
  },
)

for (const [what, jkt] of [
  ['to another key', createDpopKey().thumbprint],
  ['to nothing', undefined],
] as const) {
  test(
    `what is kept under the name of a key and is bound ${what} is refused and counted`,
    { skip: NO_REDIS },
    async (t) => {
      const all = await binding(t)
      const key = newKey()
      const token = await all.issuer.token({ sub: 'alice' })
      assert.equal(await order(await connected(all.replica(having(key))), token), 200)
      const [name = ''] = await entries(all)
      // As somebody would who has the sealing key and the token.
      const seals = createSeals([Buffer.from(SEALING_KEY, 'base64')])
      const entry = JSON.parse(seals.open(name, await raw(all.redis, name), token) ?? '') as object
      const rewrite = async (cnf: string | undefined): Promise<void> => {
        const claims = cnf === undefined ? { ...issuedTo(''), cnf: undefined } : issuedTo(cnf)
        const text = JSON.stringify({ ...entry, value: await all.issuer.sign(claims) })
        await all.redis.command('SET', name, seals.seal(name, text, token), 'PX', '60000')
      }

      await rewrite(createDpopKey(key).thumbprint)
      assert.equal(await order(await connected(all.replica(having(key))), token), 200)
      assert.equal(all.issuer.exchanges.length, 1)
      await rewrite(jkt)
      const gateway = await connected(all.replica(having(key)))
      assert.equal(await order(gateway, token), 200)
      assert.equal(all.issuer.exchanges.length, 2)
      assert.equal(counted(gateway, 'unreadable'), 1)
    },
  )
}

/* Clients that sign who they are, at token endpoints that share a level or lost it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JWT_BEARER, signer } from '../authenticate/assertions.ts'
import { holder, ORIGIN } from '../authenticate/proofs.ts'
import { NO_REDIS } from '../redis.ts'
import { connected, raw, type Changes, world, type World } from '../replicas.ts'
import type { Gateway } from '../system.ts'

const key = signer()

/** A late answer is not what is tested: the machine is shared. */
const PATIENT = { timeout: '10s' }

/** A gateway whose client signs at its token endpoint, as these options say. */
function signing(token: object = {}): Changes {
  return {
    client: { id: 'storefront', privateKey: key.pem.privateKey },
    server: { publicOrigin: ORIGIN, replicas: 2 },
    endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders'], ...token } },
    redis: PATIENT,
  }
}

const start = (all: World, token?: object): Promise<Gateway> =>
  connected(all.replica(signing(token)))

interface Answered {
  readonly status: number
  readonly error: unknown
  readonly headers: Headers
}

async function ask(
  { tokenOrigin }: Gateway,
  token: string,
  assertion: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answered> {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    route: 'orders',
    client_assertion_type: JWT_BEARER,
    client_assertion: assertion,
  })
  const response = await fetch(`${tokenOrigin}/token`, { method: 'POST', body, headers })
  const { error } = (await response.json()) as { readonly error?: unknown }
  return { status: response.status, error, headers: response.headers }
}

function counted(gateway: Gateway, outcome: string): number {
  const line = `behalf_proofs_total{outcome="${outcome}"} `
  const found = gateway.metrics.render().split('\n')
  return Number(found.find((one) => one.startsWith(line))?.slice(line.length))
}

test('an assertion that one replica took every other refuses', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const [one, other] = [await start(all), await start(all)]
  const token = await all.issuer.token()
  const assertion = await key.assertion()
  assert.equal((await ask(one, token, assertion)).status, 200)
  for (const replica of [other, one]) {
    const { status, error } = await ask(replica, token, assertion)
    assert.deepEqual([status, error], [401, 'invalid_client'])
  }
  assert.equal((await ask(other, token, await key.assertion())).status, 200)
  assert.deepEqual([counted(one, 'first'), counted(one, 'used')], [1, 1])
  assert.deepEqual([counted(other, 'first'), counted(other, 'used')], [1, 1])
})

test(
  'of thirty that come with one assertion to three replicas, one is served',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const replicas = await Promise.all([1, 2, 3].map(() => start(all)))
    const token = await all.issuer.token()
    const assertion = await key.assertion()
    const answers = await Promise.all(
      replicas.flatMap((one) => Array.from({ length: 10 }, () => ask(one, token, assertion))),
    )
    assert.equal(answers.filter(({ status }) => status === 200).length, 1)
    assert.equal(answers.filter(({ error }) => error === 'invalid_client').length, 29)
  },
)

test(
  'Redis learns of an assertion neither its jti nor its client, and forgets it',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const jti = 'a-jti-of-the-tests'
    const assertion = await key.assertion({ claims: { jti } })
    assert.equal((await ask(await start(all), await all.issuer.token(), assertion)).status, 200)
    const names = (await all.redis.command('KEYS', 'behalf:proof:*')) as string[]
    assert.equal(names.length, 1)
    const [name = ''] = names
    const held = `${name} ${(await raw(all.redis, name)).toString()}`
    for (const secret of [jti, 'storefront']) assert.equal(held.includes(secret), false)
    const left = (await all.redis.command('PTTL', name)) as number
    // What is left of its minute, clockTolerance, and ten seconds for clocks that differ.
    assert.ok(left > 0 && left <= 75_000 + 1_000, `${left} ms`)
  },
)

test(
  'while Redis is gone no assertion is taken, and with `replay: local` each replica knows its own',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const strict = await start(all)
    const local = await start(all, { replay: 'local' })
    const another = await start(all, { replay: 'local' })
    const token = await all.issuer.token()
    assert.equal((await ask(strict, token, await key.assertion())).status, 200)
    await all.redis.kill()

    const refused = await ask(strict, token, await key.assertion())
    assert.deepEqual([refused.status, refused.error], [503, 'temporarily_unavailable'])
    assert.match(refused.headers.get('retry-after') ?? '', /^\d+$/)
    assert.equal(counted(strict, 'unavailable'), 1)
    const assertion = await key.assertion()
    for (const replica of [local, another]) {
      assert.equal((await ask(replica, token, assertion)).status, 200)
      const again = await ask(replica, token, assertion)
      assert.deepEqual([again.status, again.error], [401, 'invalid_client'])
    }
  },
)

test('a proof and an assertion of one jti are two', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const alice = await holder()
  const gateway = await connected(
    all.replica({ ...signing(), api: { proofOfPossession: { mechanism: 'dpop' } } }),
  )
  const token = await all.issuer.token({ cnf: { jkt: alice.jkt } })
  const claims = { jti: 'one', htm: 'POST', htu: `${ORIGIN}/token` }
  const dpop = await alice.proof(token, { claims })
  const assertion = await key.assertion({ claims: { jti: 'one' } })
  assert.equal((await ask(gateway, token, assertion, { dpop })).status, 200)
  assert.equal(counted(gateway, 'first'), 2)
})

/* Callers that prove possession by DPoP, at gateways that share a level or lost it, and by several public origins. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { holder, ORIGIN, type Given, type Holder } from '../authenticate/proofs.ts'
import { startIssuer } from '../issuer.ts'
import { NO_REDIS } from '../redis.ts'
import { connected, raw, type Changes, world, type World } from '../replicas.ts'
import { oneRoute, startGateway, startUpstream, type Gateway } from '../system.ts'

let alice: Holder
before(async () => (alice = await holder()))

const LISTENING = { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1s' } }

/** A late answer is not what is tested: the machine is shared. */
const PATIENT = { timeout: '10s' }

/** A gateway whose API takes proofs, as these options say. */
function taking(possession: object = {}): Changes {
  return {
    api: { proofOfPossession: { mechanism: 'dpop', ...possession } },
    server: { publicOrigin: ORIGIN, replicas: 2 },
    redis: PATIENT,
  }
}

const start = (all: World, changes: Changes): Promise<Gateway> => connected(all.replica(changes))

interface Answered {
  readonly status: number
  readonly code: string | undefined
  readonly headers: Headers
}

async function show(
  { origin }: Gateway,
  token: string,
  proof: string,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const response = await fetch(`${origin}/orders`, {
    headers: { authorization: `DPoP ${token}`, dpop: proof, ...headers },
  })
  const text = await response.text()
  const { code } = (text.startsWith('{') ? JSON.parse(text) : {}) as { code?: string }
  return { status: response.status, code, headers: response.headers }
}

function proofs(gateway: Gateway, outcome: string): number {
  const line = `behalf_proofs_total{outcome="${outcome}"} `
  const found = gateway.metrics.render().split('\n')
  return Number(found.find((one) => one.startsWith(line))?.slice(line.length))
}

const bound = (all: Pick<World, 'issuer'>): Promise<string> =>
  all.issuer.token({ cnf: { jkt: alice.jkt } })

test('a proof that one replica took every other refuses', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const [one, other] = [await start(all, taking()), await start(all, taking())]
  const token = await bound(all)
  const proof = await alice.proof(token)

  assert.equal((await show(one, token, proof)).status, 200)
  for (const replica of [other, one]) {
    const { status, code } = await show(replica, token, proof)
    assert.deepEqual([status, code], [401, 'invalid_dpop_proof'])
  }
  assert.equal((await show(other, token, await alice.proof(token))).status, 200)
  assert.equal(all.upstream.received.length, 2)
  assert.deepEqual([proofs(one, 'first'), proofs(one, 'used')], [1, 1])
  assert.deepEqual([proofs(other, 'first'), proofs(other, 'used')], [1, 1])
})

test(
  'of thirty that come with one proof to three replicas, one is served',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const replicas = await Promise.all([1, 2, 3].map(() => start(all, taking())))
    const token = await bound(all)
    const proof = await alice.proof(token)
    const answers = await Promise.all(
      replicas.flatMap((one) => Array.from({ length: 10 }, () => show(one, token, proof))),
    )
    assert.equal(answers.filter(({ status }) => status === 200).length, 1)
    assert.equal(answers.filter(({ code }) => code === 'invalid_dpop_proof').length, 29)
  },
)

test(
  'Redis learns of a proof neither its jti nor its key, and forgets it',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const token = await bound(all)
    const jti = 'a-jti-of-the-tests'
    const proof = await alice.proof(token, { claims: { jti } })
    assert.equal((await show(await start(all, taking()), token, proof)).status, 200)
    const names = (await all.redis.command('KEYS', 'behalf:proof:*')) as string[]
    assert.equal(names.length, 1)
    const [name = ''] = names
    for (const secret of [jti, alice.jkt]) {
      assert.equal(`${name} ${(await raw(all.redis, name)).toString()}`.includes(secret), false)
    }
    const left = (await all.redis.command('PTTL', name)) as number
    // maxAge, clockTolerance, and ten seconds for clocks that differ.
    assert.ok(left > 0 && left <= 75_000 + 1_000, `${left} ms`)
  },
)

test('a request without a proof costs Redis nothing', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const gateway = await start(all, taking({ required: false }))
  const plain = await all.issuer.token()
  const ask = () =>
    fetch(`${gateway.origin}/orders`, { headers: { authorization: `Bearer ${plain}` } })
  assert.equal((await ask()).status, 200)
  const bare = await all.redis.command('KEYS', 'behalf:proof:*')
  assert.deepEqual(bare, [])
  assert.equal((await ask()).status, 200)
  assert.equal(proofs(gateway, 'first'), 0)
})

test(
  'while Redis is gone no proof is taken, and with `replay: local` each replica knows its own',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const strict = await start(all, taking())
    const local = await start(all, taking({ replay: 'local' }))
    const another = await start(all, taking({ replay: 'local' }))
    const token = await bound(all)
    const seen = await alice.proof(token)
    assert.equal((await show(local, token, seen)).status, 200)
    assert.equal((await show(another, token, seen)).code, 'invalid_dpop_proof')
    await all.redis.kill()

    const refused = await show(strict, token, await alice.proof(token))
    assert.deepEqual([refused.status, refused.code], [503, 'replay_store_unavailable'])
    assert.equal(refused.headers.get('retry-after'), '1')
    assert.equal(proofs(strict, 'unavailable'), 1)

    const proof = await alice.proof(token)
    assert.equal((await show(local, token, proof)).status, 200)
    assert.equal((await show(local, token, proof)).code, 'invalid_dpop_proof')
    // What is lost: the other replica takes it once more. What is not: what it saw before.
    assert.equal((await show(another, token, proof)).status, 200)
    assert.equal((await show(local, token, seen)).code, 'invalid_dpop_proof')
    assert.deepEqual([proofs(local, 'local'), proofs(local, 'used')], [1, 2])
  },
)

test('a Redis that cannot be written to tells of no proof', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const gateway = await start(all, taking())
  const token = await bound(all)
  assert.equal((await show(gateway, token, await alice.proof(token))).status, 200)
  await all.redis.command('CONFIG', 'SET', 'maxmemory', '1')
  const full = await show(gateway, token, await alice.proof(token))
  assert.equal(full.code, 'replay_store_unavailable')
  await all.redis.command('CONFIG', 'SET', 'maxmemory', '0')
  assert.equal((await show(gateway, token, await alice.proof(token))).status, 200)
})

test('a nonce of one replica is good at every other', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const [one, other] = [
    await start(all, taking({ nonce: 'required' })),
    await start(all, taking({ nonce: 'required' })),
  ]
  const token = await bound(all)
  const challenged = await show(one, token, await alice.proof(token))
  assert.deepEqual([challenged.status, challenged.code], [401, 'use_dpop_nonce'])
  const given: Given = { claims: { nonce: challenged.headers.get('dpop-nonce') } }
  assert.equal((await show(other, token, await alice.proof(token, given))).status, 200)
  // With another sealing key it is a nonce of somebody else's.
  const stranger = await start(all, {
    ...taking({ nonce: 'required' }),
    redis: {
      ...PATIENT,
      sealingKeys: [Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64')],
    },
  })
  const unknown = await show(stranger, token, await alice.proof(token, given))
  assert.equal(unknown.code, 'use_dpop_nonce')
})

test('of several public origins a proof is for the one that the request came by', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const [here, there] = ['https://gateway.example', 'https://other.example:8443']
  const gatewayOf = (server: object): Promise<Gateway> =>
    startGateway(t, {
      ...oneRoute({
        ...{ issuer: issuer.url, upstream: upstream.origin },
        api: { proofOfPossession: { mechanism: 'dpop' } },
      }),
      server: { ...LISTENING, publicOrigin: [here, there], ...server },
      endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders'], clients: 'none' } },
    })
  const trusting = await gatewayOf({ trustedProxies: ['127.0.0.1/32'] })
  const token = await issuer.token({ cnf: { jkt: alice.jkt } })
  const by = async (gateway: Gateway, origin: string, host: string): Promise<unknown> => {
    const proof = await alice.proof(token, { claims: { htu: `${origin}/orders` } })
    const { status, code } = await show(gateway, token, proof, { 'x-forwarded-host': host })
    return code ?? status
  }

  assert.equal(await by(trusting, here, 'gateway.example'), 200)
  assert.equal(await by(trusting, here, 'GATEWAY.example:443'), 200)
  assert.equal(await by(trusting, there, 'other.example:8443'), 200)
  for (const host of ['other.example:8443', 'other.example', 'gateway.example, gateway.example']) {
    assert.equal(await by(trusting, here, host), 'invalid_dpop_proof', host)
  }
  assert.equal(await by(trusting, there, 'gateway.example'), 'invalid_dpop_proof')
  // What nobody who is trusted tells does not count: by its Host the request was for none of them.
  const plain = await gatewayOf({})
  assert.equal(await by(plain, here, 'gateway.example'), 'invalid_dpop_proof')
  // The token endpoint is one, by whatever name it is reached.
  for (const [origin, status] of [
    [here, 200],
    [there, 200],
    ['https://another.example', 400],
  ] as const) {
    const claims = { htm: 'POST', htu: `${origin}/token` }
    const response = await fetch(`${plain.tokenOrigin}/token`, {
      method: 'POST',
      headers: { dpop: await alice.proof(token, { claims }) },
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        subject_token: token,
      }),
    })
    assert.equal(response.status, status)
  }
})

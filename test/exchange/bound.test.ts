import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import test, { type TestContext } from 'node:test'
import { inspect } from 'node:util'
import type { Client } from '../../src/config/config.ts'
import { createDpopKey } from '../../src/exchange/dpop.ts'
import { createExchange } from '../../src/exchange/exchange.ts'
import type { IssuedToken } from '../../src/exchange/issued.ts'
import { createOutbound } from '../../src/outbound.ts'
import { verifyProof } from '../proofs.ts'
import { api, ask, IDENTIFIER, listen, permit, unsignedJwt } from '../support.ts'
import { failure, ISSUED_TYPE, type Seen } from './loopback-issuer.ts'

const PEM = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  ...{ type: 'pkcs8', format: 'pem' },
}) as string
const { thumbprint: JKT } = createDpopKey(PEM)
const CLIENT: Client = {
  ...{ id: 'gateway', method: 'client_secret_post', secret: 'a secret' },
  dpopKey: { pem: PEM },
}
const CLAIMS = { iss: IDENTIFIER, sub: 'alice', aud: 'orders' }
const GOOD = {
  access_token: unsignedJwt({ ...CLAIMS, cnf: { jkt: JKT } }),
  token_type: 'DPoP',
  issued_token_type: ISSUED_TYPE,
}
const BEARER = { ...GOOD, access_token: unsignedJwt(CLAIMS), token_type: 'Bearer' }

interface Path {
  readonly exchange: () => Promise<IssuedToken>
  readonly seen: Seen[]
  readonly url: string
}

interface Given {
  readonly answer?: (response: ServerResponse, seen: Seen, index: number) => void
  readonly exchange?: object
  readonly client?: Client
}

function respond(response: ServerResponse, body: object, status = 200, nonce?: string): void {
  if (nonce !== undefined) response.setHeader('dpop-nonce', nonce)
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** An exchange at an issuer on loopback. */
async function pathTo(context: TestContext, given: Given = {}): Promise<Path> {
  const { answer = (response) => respond(response, GOOD), client = CLIENT } = given
  const seen: Seen[] = []
  const origin = await listen(context, (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      seen.push({ request, body })
      answer(response, seen.at(-1)!, seen.length - 1)
    })
  })
  const url = `${origin}/token`
  const outbound = createOutbound()
  context.after(() => outbound.close())
  const exchange = createExchange({ tokenEndpointOf: async () => url, outbound })
  const asked = { audience: 'orders', bound: 'dpop', ...given.exchange }
  const own = permit({ subject: { api: api({ client }) }, route: { exchange: asked } })
  return { exchange: async () => exchange(own, ask()), seen, url }
}

const proofOf = ({ request }: Seen): string | undefined => request.headers['dpop'] as string

test('a bound token is asked for with a proof, and comes with proofs of the same key', async (context) => {
  const { exchange, seen, url } = await pathTo(context)
  const token = await exchange()
  const atIssuer = await verifyProof(proofOf(seen[0]!), { method: 'POST', url })
  assert.equal(atIssuer.thumbprint, JKT)
  assert.equal(token.scheme, 'DPoP')
  assert.equal(token.value, GOOD.access_token)
  const request = { method: 'GET', url: 'http://127.0.0.1:9/orders' }
  const proof = token.prove?.(request.method, request.url, 'nonce')
  const expected = { ...request, accessToken: token.value, nonce: 'nonce' }
  assert.equal((await verifyProof(proof, expected)).thumbprint, JKT)
})

test('a route without `bound` sends no proof, and has a token without any', async (context) => {
  const { exchange, seen } = await pathTo(context, {
    answer: (response) => respond(response, BEARER),
    exchange: { bound: undefined },
  })
  const token = await exchange()
  assert.equal(proofOf(seen[0]!), undefined)
  assert.deepEqual([token.scheme, token.prove, token.identity], ['Bearer', undefined, undefined])
})

const bound = (cnf: unknown): object => ({
  ...GOOD,
  access_token: unsignedJwt({ ...CLAIMS, cnf }),
})

for (const [what, body, wrong] of [
  ['a bearer token, as issuers answer that pass proofs over', BEARER, 'token_type'],
  ['a bearer token that says it is bound', { ...GOOD, token_type: 'Bearer' }, 'token_type'],
  ['a token of type DPoP that is bound to nothing', bound(undefined), 'cnf'],
  ['a token that is bound to another key', bound({ jkt: createDpopKey().thumbprint }), 'cnf'],
  ['a token that is bound to a certificate', bound({ 'x5t#S256': JKT }), 'cnf'],
  ['a token that is bound twice', bound({ jkt: JKT, 'x5t#S256': JKT }), 'cnf'],
  ['a token whose `cnf` is no object', bound(JKT), 'cnf'],
  ['a token whose `cnf` is null', bound(null), 'cnf'],
] as const) {
  test(`${what} is never used where the route asks for a bound one`, async (context) => {
    const { exchange } = await pathTo(context, { answer: (response) => respond(response, body) })
    const { code, cause } = await failure(exchange())
    assert.equal(code, 'exchange_misconfigured')
    assert.match((cause as Error).message, new RegExp(`: ${wrong}$`))
  })
}

for (const [what, body, wrong] of [
  ['of type DPoP', GOOD, 'token_type'],
  ['that is bound to a key', { ...GOOD, token_type: 'Bearer' }, 'cnf'],
  [
    'that is bound to a certificate',
    { ...bound({ 'x5t#S256': JKT }), token_type: 'Bearer' },
    'cnf',
  ],
] as const) {
  test(`a token ${what} is refused where nobody asked for a bound one`, async (context) => {
    const { exchange } = await pathTo(context, {
      answer: (response) => respond(response, body),
      exchange: { bound: undefined },
    })
    const { code, cause } = await failure(exchange())
    assert.equal(code, 'exchange_misconfigured')
    assert.match((cause as Error).message, new RegExp(`: ${wrong}$`))
  })
}

test('of an opaque token its type tells that it is bound', async (context) => {
  for (const [type, scheme] of [
    ['DPoP', 'DPoP'],
    ['dpop', 'DPoP'],
    ['Bearer', undefined],
  ]) {
    const { exchange } = await pathTo(context, {
      answer: (response) =>
        respond(response, { ...GOOD, access_token: 'opaque', token_type: type }),
    })
    if (scheme === undefined) await assert.rejects(exchange(), { code: 'exchange_misconfigured' })
    else assert.equal((await exchange()).scheme, scheme)
  }
})

/** Wants the latest nonce in each proof, as RFC 9449, section 8, has it. */
const wanting =
  (nonces: readonly string[]): NonNullable<Given['answer']> =>
  (response, seen, index) => {
    const [, claims = ''] = (proofOf(seen) ?? '').split('.')
    const { nonce } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { nonce?: string }
    const wanted = nonces[Math.min(index, nonces.length) - 1]
    const next = nonces[Math.min(index, nonces.length - 1)]
    if (nonce !== undefined && nonce === wanted) respond(response, GOOD, 200, next)
    else respond(response, { error: 'use_dpop_nonce' }, 400, next)
  }

test('an issuer that wants its nonce is asked once more with it, and then with each that it gave', async (context) => {
  const { exchange, seen, url } = await pathTo(context, { answer: wanting(['a', 'b', 'c']) })
  await exchange()
  assert.equal(seen.length, 2)
  const first = await verifyProof(proofOf(seen[0]!), { method: 'POST', url })
  const second = await verifyProof(proofOf(seen[1]!), { method: 'POST', url, nonce: 'a' })
  assert.notEqual(first.jti, second.jti)
  // The answer that was good gave another one.
  await exchange()
  assert.equal(seen.length, 3)
  await verifyProof(proofOf(seen[2]!), { method: 'POST', url, nonce: 'b' })
})

test('an issuer that is never content with its nonce is asked twice and no more', async (context) => {
  const { exchange, seen } = await pathTo(context, {
    answer: (response, _seen, index) =>
      respond(response, { error: 'use_dpop_nonce' }, 400, `nonce-${index}`),
  })
  const { code, retryAfter } = await failure(exchange())
  assert.deepEqual([code, retryAfter, seen.length], ['exchange_unavailable', 1, 2])
})

test('an issuer that wants a nonce and gives none is asked once', async (context) => {
  for (const nonce of [undefined, 'not a nonce']) {
    const { exchange, seen } = await pathTo(context, {
      answer: (response) => respond(response, { error: 'use_dpop_nonce' }, 400, nonce),
    })
    await failure(exchange())
    assert.equal(seen.length, 1)
  }
})

test('a second try signs another assertion: each is used once', async (context) => {
  const client: Client = {
    ...{ id: 'gateway', method: 'private_key_jwt', algorithm: 'ES256', keyId: undefined },
    ...{ privateKey: { pem: PEM }, dpopKey: { pem: PEM } },
  }
  const { exchange, seen } = await pathTo(context, { answer: wanting(['a']), client })
  await exchange()
  const assertions = seen.map(({ body }) => new URLSearchParams(body).get('client_assertion'))
  assert.equal(new Set(assertions).size, 2)
})

test('an issuer that takes no proof of ours is ours to mend', async (context) => {
  const { exchange, seen } = await pathTo(context, {
    answer: (response) => respond(response, { error: 'invalid_dpop_proof' }, 400),
  })
  assert.equal((await failure(exchange())).code, 'exchange_misconfigured')
  assert.equal(seen.length, 1)
})

test('an actor token is asked for with a proof of the same key, and may be bound or not', async (context) => {
  for (const actor of [GOOD, BEARER]) {
    const { exchange, seen, url } = await pathTo(context, {
      exchange: { delegation: true },
      answer: (response, { body }) =>
        respond(response, body.includes('client_credentials') ? actor : GOOD),
    })
    await exchange()
    assert.equal(seen.length, 2)
    for (const one of seen) {
      const { thumbprint } = await verifyProof(proofOf(one), { method: 'POST', url })
      assert.equal(thumbprint, JKT)
    }
    const form = new URLSearchParams(seen[1]!.body)
    assert.equal(form.get('actor_token'), actor.access_token)
  }
})

test('neither a bound token nor a failure holds the key', async (context) => {
  const { exchange } = await pathTo(context)
  const refused = await pathTo(context, { answer: (response) => respond(response, BEARER) })
  const seen = [await exchange(), await failure(refused.exchange())]
    .map((one) => inspect(one, { depth: 9, showHidden: true }) + JSON.stringify(one))
    .join('')
  assert.match(seen, /DPoP/)
  for (const line of PEM.split('\n').slice(1, -2)) assert.ok(!seen.includes(line))
})

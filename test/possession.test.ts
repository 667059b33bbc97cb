/* The whole path with callers that prove who they are: over TLS with real certificates, and with an independent client. */
import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import https from 'node:https'
import { before, test, type TestContext } from 'node:test'
import { connect } from 'node:tls'
import express from 'express'
import { calculateJwkThumbprint, exportJWK } from 'jose'
import * as client from 'openid-client'
import { authenticate, gateway as middleware, onBehalfOf } from '../src/index.ts'
import { createLog } from '../src/log.ts'
import { holder } from './authenticate/proofs.ts'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from './certificates.ts'
import { startIssuer, type TestIssuer } from './issuer.ts'
import {
  assertHeadersAllowed,
  assertTokensContained,
  listen,
  oneRoute,
  startGateway,
  startUpstream,
  type Gateway,
  type Upstream,
} from './system.ts'

let authority: Authority
let own: Pair
let alice: Pair
let mallory: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  own = authority.issue('gateway')
  alice = authority.issue('alice')
  mallory = authority.issue('mallory')
})

const unless = { skip: NO_OPENSSL }
const PUBLIC = 'https://gateway.example'
const LISTENING = { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1s' } }

interface World {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly gateway: Gateway
}

async function world(t: TestContext, proofOfPossession: object, server: object): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const setting = { issuer: issuer.url, upstream: upstream.origin, api: { proofOfPossession } }
  const configuration = { ...oneRoute(setting), server: { ...LISTENING, ...server } }
  return { issuer, upstream, gateway: await startGateway(t, configuration) }
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: { readonly code?: string; readonly sub?: string }
}

/** `GET /orders` as this caller. */
function asked(
  origin: string,
  headers: Readonly<Record<string, string>>,
  { certificate: cert, key }: Partial<Pair> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { certificate: ca } = authority
    const identity = { ca, ...(cert && { cert }), ...(key && { key }) }
    const request = https.get(`${origin}/orders`, { agent: false, headers, ...identity })
    request.on('error', reject)
    request.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('end', () => {
        const body = JSON.parse(text) as Answer['body']
        const { statusCode: status = 0, headers: lines } = response
        resolve({ status, headers: new Headers(lines as Record<string, string>), body })
      })
    })
  })
}

const thumbprint = ({ certificate }: Pair): string =>
  hash('sha256', new X509Certificate(certificate).raw, 'base64url')
const bound = (pair: Pair): { cnf: object } => ({ cnf: { 'x5t#S256': thumbprint(pair) } })
const bearer = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` })
const tls = (): object => ({ certificate: own.certificate, key: own.key })

test(
  'a token that is bound to a certificate is taken on a connection that shows it, and on no other',
  unless,
  async (t) => {
    const server = { tls: { ...tls(), clientCertificates: 'request' } }
    const { issuer, upstream, gateway } = await world(t, { mechanism: 'mtls' }, server)
    const token = await issuer.token(bound(alice))
    assert.match(gateway.origin, /^https:/)

    const good = await asked(gateway.origin, bearer(token), alice)
    assert.equal(good.status, 200)
    for (const by of [{}, mallory]) {
      const { status, body, headers } = await asked(gateway.origin, bearer(token), by)
      assert.deepEqual([status, body.code], [401, 'invalid_token'])
      assert.match(headers.get('www-authenticate') ?? '', /^Bearer error="invalid_token"/)
    }
    const unbound = await asked(gateway.origin, bearer(await issuer.token()), alice)
    assert.equal(unbound.body.code, 'invalid_token')

    assert.equal(upstream.received.length, 1)
    assert.equal(upstream.received[0]?.headers['x-forwarded-proto'], 'https')
    assertHeadersAllowed(upstream)
    assertTokensContained(gateway, upstream, token)
  },
)

test(
  'a gateway on TLS is asked for its health without, and drains like any other',
  unless,
  async (t) => {
    const { gateway } = await world(t, { mechanism: 'mtls' }, { tls: tls() })
    assert.match(gateway.adminOrigin, /^http:/)
    assert.equal((await fetch(`${gateway.adminOrigin}/livez`)).status, 200)
    assert.equal((await asked(gateway.origin, {})).body.code, 'missing_token')
    const { hostname, port } = new URL(gateway.origin)
    const open = connect({ host: hostname, port: Number(port), ca: authority.certificate })
    await once(open, 'secureConnect')
    await Promise.all([once(open.resume(), 'close'), gateway.drain()])
    await assert.rejects(asked(gateway.origin, {}))
  },
)

test(
  'a caller on TLS cannot tell a certificate by a header, and its copies go no further',
  unless,
  async (t) => {
    const server = { tls: { ...tls(), clientCertificates: 'request' } }
    const { issuer, upstream, gateway } = await world(t, { mechanism: 'mtls' }, server)
    const told = forwarded(alice)
    const stolen = bearer(await issuer.token(bound(alice)))
    const refused = await asked(gateway.origin, { ...stolen, ...told }, mallory)
    assert.equal(refused.body.code, 'invalid_token')
    const good = bearer(await issuer.token(bound(mallory)))
    assert.equal((await asked(gateway.origin, { ...good, ...told }, mallory)).status, 200)
    assertHeadersAllowed(upstream)
  },
)

function forwarded(pair: Pair): { readonly 'client-cert': string } {
  const { raw } = new X509Certificate(pair.certificate)
  return { 'client-cert': `:${raw.toString('base64')}:` }
}

test('a trusted proxy tells the certificate, which goes no further', unless, async (t) => {
  const trusting = { trustedProxies: ['127.0.0.0/8'] }
  const { issuer, upstream, gateway } = await world(t, { mechanism: 'mtls' }, trusting)
  const headers = bearer(await issuer.token(bound(alice)))
  const get = async (more: object): Promise<number> =>
    (await fetch(`${gateway.origin}/orders`, { headers: { ...headers, ...more } })).status
  assert.equal(await get(forwarded(alice)), 200)
  assert.equal(await get(forwarded(mallory)), 401)
  assert.equal(await get({}), 401)
  assert.equal(await get({ ...forwarded(alice), 'x-forwarded-client-cert': 'Hash=0' }), 400)
  assert.equal(upstream.received.length, 1)
  assertHeadersAllowed(upstream)
})

test(
  'the certificate counts in an Express application behind its own TLS, too',
  unless,
  async (t) => {
    const issuer = await startIssuer(t)
    const upstream = await startUpstream(t)
    const api = { proofOfPossession: { mechanism: 'mtls' } }
    const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin, api })
    const log = createLog({ destination: { write: () => undefined } })
    const embedded = await middleware(configuration as never, { log })
    t.after(() => embedded.close())
    const app = express().use(embedded)
    const options = {
      cert: own.certificate,
      key: own.key,
      requestCert: true,
      ca: authority.certificate,
    }
    const server = https.createServer({ ...options, rejectUnauthorized: false }, app)
    const origin = (await listen(t, server as never)).replace('http:', 'https:')
    const headers = bearer(await issuer.token(bound(alice)))
    assert.equal((await asked(origin, headers, alice)).status, 200)
    assert.equal((await asked(origin, headers, mallory)).status, 401)
  },
)

test('openid-client gets through with its own proofs, and a stolen token does not', async (t) => {
  const server = { publicOrigin: PUBLIC }
  const { issuer, upstream, gateway } = await world(t, { mechanism: 'dpop' }, server)
  const keys = await client.randomDPoPKeyPair('ES256', { extractable: true })
  const jkt = await calculateJwkThumbprint(await exportJWK(keys.publicKey))
  const token = await issuer.token({ cnf: { jkt } })
  const { get } = caller(gateway)

  assert.equal((await get(token, keys)).status, 200)
  assert.equal((await get(token, keys)).status, 200)
  assert.equal(issuer.exchanges.length, 1)
  // No thief has the key.
  const thief = await client.randomDPoPKeyPair()
  await assert.rejects(get(token, thief), (error: client.WWWAuthenticateChallengeError) => {
    assert.equal(error.status, 401)
    assert.equal(error.cause[0]?.scheme, 'dpop')
    assert.equal(error.cause[0]?.parameters.error, 'invalid_token')
    return true
  })
  const stolen = await fetch(`${gateway.origin}/orders`, { headers: bearer(token) })
  assert.equal(stolen.status, 401)
  assert.match(stolen.headers.get('www-authenticate') ?? '', /^DPoP .*algs="ES256 /)
  assert.equal(upstream.received.length, 2)
  assertHeadersAllowed(upstream)
  assertTokensContained(gateway, upstream, token)
})

test('openid-client learns the nonce from the refusal and comes back with it', async (t) => {
  const publicOrigin = [PUBLIC, 'https://other.example']
  const server = { publicOrigin, trustedProxies: ['127.0.0.0/8'] }
  const dpop = { mechanism: 'dpop', nonce: 'required' }
  const { issuer, gateway } = await world(t, dpop, server)
  const keys = await client.randomDPoPKeyPair('ES256', { extractable: true })
  const jkt = await calculateJwkThumbprint(await exportJWK(keys.publicKey))
  const token = await issuer.token({ cnf: { jkt } })
  const { get, answers } = caller(gateway)

  assert.equal((await get(token, keys)).status, 200)
  assert.equal((await get(token, keys)).status, 200)
  const [refusal] = answers
  assert.equal(refusal?.headers.get('dpop-nonce')?.length, 32)
  assert.match(refusal?.headers.get('www-authenticate') ?? '', /DPoP error="use_dpop_nonce"/)
  assert.ok(answers.length <= 4)
})

/** openid-client at the public origin, whose requests come to the gateway. */
function caller(gateway: Gateway): {
  readonly get: (token: string, keys: client.CryptoKeyPair) => Promise<Response>
  readonly answers: readonly Response[]
} {
  const answers: Response[] = []
  const configuration = new client.Configuration({ issuer: 'https://issuer.example' }, 'spa')
  configuration[client.customFetch] = async (url, options) => {
    const { pathname, host } = new URL(url)
    const { headers, ...rest } = options as RequestInit
    const told = new Headers(headers)
    // As the proxy that stands at the public origin.
    told.set('x-forwarded-host', host)
    const response = await fetch(gateway.origin + pathname, { ...rest, headers: told })
    answers.push(response)
    return response
  }
  const handles = new Map<client.CryptoKeyPair, client.DPoPHandle>()
  const get = (token: string, keys: client.CryptoKeyPair): Promise<Response> => {
    const DPoP = handles.get(keys) ?? client.getDPoPHandle(configuration, keys)
    handles.set(keys, DPoP)
    const url = new URL(`${PUBLIC}/orders`)
    return client.fetchProtectedResource(configuration, token, url, 'GET', null, undefined, {
      DPoP,
    })
  }
  return { get, answers }
}

test('a proof that was used is refused, also while the issued token is a hit', async (t) => {
  const { issuer, gateway } = await world(t, { mechanism: 'dpop' }, { publicOrigin: PUBLIC })
  const by = await holder()
  const token = await issuer.token({ cnf: { jkt: by.jkt } })
  const proof = await by.proof(token)
  const get = async (dpop: string): Promise<Response> =>
    fetch(`${gateway.origin}/orders`, { headers: { authorization: `DPoP ${token}`, dpop } })
  assert.equal((await get(proof)).status, 200)
  const again = await get(proof)
  assert.equal(((await again.json()) as Answer['body']).code, 'invalid_dpop_proof')
  assert.equal((await get(await by.proof(token))).status, 200)
  assert.equal(gateway.logged().includes(proof.split('.')[2]!), false)
})

test('two proofs that something joined into one line are none', async (t) => {
  const { issuer, gateway } = await world(t, { mechanism: 'dpop' }, { publicOrigin: PUBLIC })
  const by = await holder()
  const token = await issuer.token({ cnf: { jkt: by.jkt } })
  const headers = new Headers({ authorization: `DPoP ${token}` })
  for (let count = 0; count < 2; count++) headers.append('dpop', await by.proof(token))
  const { status } = await fetch(`${gateway.origin}/orders`, { headers })
  assert.equal(status, 401)
})

test('a proof serves all steps of its own request, and no other request', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const api = { proofOfPossession: { mechanism: 'dpop' } }
  const setting = oneRoute({ issuer: issuer.url, upstream: upstream.origin, api })
  const log = createLog({ destination: { write: () => undefined } })
  const behalf = await middleware({ ...setting, server: { publicOrigin: PUBLIC } } as never, {
    log,
  })
  t.after(() => behalf.close())
  const app = express().use(authenticate(behalf, 'orders'), onBehalfOf(behalf, 'orders'), behalf)
  const { createServer } = await import('node:http')
  const origin = await listen(t, createServer(app))
  const by = await holder()
  const token = await issuer.token({ cnf: { jkt: by.jkt } })
  const proof = async (): Promise<string> =>
    by.proof(token, { claims: { htu: `${PUBLIC}/orders` } })
  const get = async (dpop: string): Promise<number> => {
    const headers = { authorization: `DPoP ${token}`, dpop }
    return (await fetch(`${origin}/orders`, { headers })).status
  }
  const first = await proof()
  assert.equal(await get(first), 200)
  assert.equal(await get(first), 401)
  assert.equal(await get(await proof()), 200)
  assert.equal(upstream.received.length, 2)
})

test('below a mount, the address of a proof is the one that the caller sees', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const api = { proofOfPossession: { mechanism: 'dpop' } }
  const setting = oneRoute({ issuer: issuer.url, upstream: upstream.origin, api })
  const log = createLog({ destination: { write: () => undefined } })
  const configuration = { ...setting, server: { publicOrigin: PUBLIC } }
  const embedded = await middleware(configuration as never, { log })
  t.after(() => embedded.close())
  const { createServer } = await import('node:http')
  const origin = await listen(t, createServer(express().use('/api', embedded)))
  const by = await holder()
  const token = await issuer.token({ cnf: { jkt: by.jkt } })
  const get = async (htu: string): Promise<number> => {
    const dpop = await by.proof(token, { claims: { htu } })
    const headers = { authorization: `DPoP ${token}`, dpop }
    return (await fetch(`${origin}/api/orders`, { headers })).status
  }
  assert.equal(await get(`${PUBLIC}/api/orders`), 200)
  assert.equal(await get(`${PUBLIC}/orders`), 401)
  assert.equal(upstream.received[0]?.url, '/orders')
})

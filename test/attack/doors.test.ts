/** Tokens that are bound to their holder, at each of the doors: whoever stole one has no use for it. */
import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import { test, type TestContext } from 'node:test'
import { holder, ORIGIN, type Given } from '../authenticate/proofs.ts'
import { createAuthority, NO_OPENSSL, type Pair } from '../certificates.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { oneRoute, startGateway, startUpstream, type Gateway } from '../system.ts'

interface Doors {
  readonly issuer: TestIssuer
  readonly gateway: Gateway
  /** The code of each refusal, and `200` where a token was had. */
  readonly ask: Readonly<Record<Door, (headers: Headers) => Promise<string>>>
}

type Door = 'traffic' | 'forwardAuth' | 'token'
type Headers = Readonly<Record<string, string>>
const DOORS = ['traffic', 'forwardAuth', 'token'] as const

/** What a proof says of the request at each door; at the token endpoint that is the door itself. */
const PROVEN: Readonly<Record<Door, object>> = {
  traffic: {},
  forwardAuth: {},
  token: { htm: 'POST', htu: `${ORIGIN}/token` },
}

async function start(t: TestContext, api: object, server: object = {}): Promise<Doors> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin, api }),
    server: {
      ...{ listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1s' } },
      ...{ publicOrigin: ORIGIN, ...server },
    },
    endpoints: {
      forwardAuth: { listen: '127.0.0.1:0', original: 'headers' },
      token: { listen: '127.0.0.1:0', routes: ['orders'], clients: 'none' },
    },
  })
  const traffic = (headers: Headers): Promise<string> =>
    told(fetch(`${gateway.origin}/orders`, { headers }))
  const forwardAuth = (headers: Headers): Promise<string> => {
    const original = {
      ...{ 'x-forwarded-method': 'GET', 'x-forwarded-host': 'gateway.example' },
      'x-forwarded-uri': '/orders',
    }
    return told(
      fetch(`${gateway.forwardAuthOrigin}/forward-auth`, { headers: { ...headers, ...original } }),
    )
  }
  const token = ({ authorization = '', ...headers }: Headers): Promise<string> => {
    const body = new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: authorization.split(' ')[1] ?? '',
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      route: 'orders',
    })
    return told(fetch(`${gateway.tokenOrigin}/token`, { method: 'POST', body, headers }))
  }
  return { issuer, gateway, ask: { traffic, forwardAuth, token } }
}

async function told(answer: Promise<Response>): Promise<string> {
  const response = await answer
  const text = await response.text()
  if (response.status === 200) return '200'
  return String((JSON.parse(text) as { readonly code?: unknown }).code)
}

for (const door of DOORS) {
  test(`at the door ${door} a token that is bound to a key needs a proof of this request`, async (t) => {
    const { issuer, ask } = await start(t, { proofOfPossession: { mechanism: 'dpop' } })
    const [own, other] = [await holder(), await holder()]
    const token = await issuer.token({ cnf: { jkt: own.jkt } })
    const by = async (who: typeof own, given: Given = {}): Promise<Headers> => ({
      authorization: `DPoP ${token}`,
      dpop: await who.proof(token, { ...given, claims: { ...PROVEN[door], ...given.claims } }),
    })
    const elsewhere = { claims: { htu: `${ORIGIN}/elsewhere` } }

    assert.equal(await ask[door](await by(own)), '200')
    assert.equal(await ask[door]({ authorization: `Bearer ${token}` }), 'invalid_token')
    assert.equal(await ask[door](await by(other)), 'invalid_token')
    assert.equal(await ask[door](await by(own, elsewhere)), 'invalid_dpop_proof')
    assert.equal(await ask[door](await by(own, { claims: { htm: 'PUT' } })), 'invalid_dpop_proof')
  })
}

test('a proof that was used at one door is used at every other', async (t) => {
  const { issuer, ask } = await start(t, { proofOfPossession: { mechanism: 'dpop' } })
  const own = await holder()
  const token = await issuer.token({ cnf: { jkt: own.jkt } })
  const headers = { authorization: `DPoP ${token}`, dpop: await own.proof(token) }

  assert.equal(await ask.traffic(headers), '200')
  assert.equal(await ask.forwardAuth(headers), 'invalid_dpop_proof')
  const fresh = { ...headers, dpop: await own.proof(token) }
  assert.equal(await ask.forwardAuth(fresh), '200')
  assert.equal(await ask.traffic(fresh), 'invalid_dpop_proof')
})

const CERTIFICATE = Buffer.from('what stands for the certificate of alice, which is public')
const TOLD = { 'client-cert': `:${CERTIFICATE.toString('base64')}:` }
const BOUND = { cnf: { 'x5t#S256': hash('sha256', CERTIFICATE, 'base64url') } }
const LOOPBACK = { trustedProxies: ['127.0.0.1/32'] }

for (const door of DOORS) {
  test(`at the door ${door} nobody shows another’s certificate by a header`, async (t) => {
    const { issuer, ask } = await start(t, { proofOfPossession: { mechanism: 'mtls' } })
    const token = await issuer.token(BOUND)
    const stolen = { authorization: `Bearer ${token}`, ...TOLD }
    assert.equal(await ask[door](stolen), 'invalid_token')
  })
}

for (const door of ['traffic', 'forwardAuth'] as const) {
  test(`at the door ${door} a proxy that is trusted with certificates tells them`, async (t) => {
    const { issuer, ask } = await start(t, { proofOfPossession: { mechanism: 'mtls' } }, LOOPBACK)
    const headers = { authorization: `Bearer ${await issuer.token(BOUND)}` }
    assert.equal(await ask[door]({ ...headers, ...TOLD }), '200')
    assert.equal(await ask[door](headers), 'invalid_token')
  })
}

test('nobody tells certificates at the token endpoint', async (t) => {
  const { issuer, ask } = await start(t, { proofOfPossession: { mechanism: 'mtls' } }, LOOPBACK)
  const authorization = `Bearer ${await issuer.token(BOUND)}`
  assert.equal(await ask.token({ authorization, ...TOLD }), 'invalid_token')
})

test('over HTTP/2 a certificate is that of the connection', { skip: NO_OPENSSL }, async (t) => {
  const authority = createAuthority()
  const [own, alice, mallory] = ['gateway', 'alice', 'mallory'].map((name) => authority.issue(name))
  const tls = { ...own, clientCertificates: 'request' }
  const { issuer, gateway } = await start(t, {}, { tls })
  const thumbprint = hash('sha256', new X509Certificate(alice!.certificate).raw, 'base64url')
  const token = await issuer.token({ cnf: { 'x5t#S256': thumbprint } })
  const asked = async (by: Partial<Pair>): Promise<unknown> => {
    const identity = {
      ...(by.certificate && { cert: by.certificate }),
      ...(by.key && { key: by.key }),
    }
    const session = http2.connect(gateway.origin, { ca: authority.certificate, ...identity })
    t.after(() => session.destroy())
    const stream = session.request({ ':path': '/orders', authorization: `Bearer ${token}` })
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    stream.resume()
    return headers[':status']
  }

  assert.equal(await asked(alice!), 200)
  assert.equal(await asked(mallory!), 401)
  assert.equal(await asked({}), 401)
})

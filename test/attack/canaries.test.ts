/** Credentials too short to be told from words by their shape, at an issuer that repeats whatever it was sent. */
import assert from 'node:assert/strict'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import { listen, startGateway, startUpstream } from '../system.ts'

const CANARY = {
  subject: 'subject-canary-1f7a',
  refresh: 'refresh-canary-92c0',
  secret: 'secret-canary-77d1-of-the-storefront',
  web: 'secret-canary-40b3-of-the-web-client',
  issued: 'issued-canary-c55e',
  rotated: 'rotated-canary-08e2',
}
const ADMIN = 'an-admin-token-of-enough-length-61c9'

interface Said {
  readonly status: number
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

const echoed = Object.values(CANARY).join(' ')
const json = (members: object): string => JSON.stringify(members)
const token = { token_type: 'Bearer', expires_in: 300, refresh_token: CANARY.rotated }

const SAID: Readonly<Record<string, Said>> = {
  'a refusal named by what it was sent': { status: 400, body: json({ error: echoed }) },
  'a refusal that describes it': {
    status: 403,
    body: json({ error: 'invalid_grant', error_description: echoed, error_uri: echoed }),
  },
  'headers of it': {
    status: 401,
    body: '{}',
    headers: { 'www-authenticate': `Basic "${echoed}"` },
  },
  'a page of it': { status: 200, body: `<html>${echoed}</html>` },
  'half of it': { status: 200, body: json({ access_token: CANARY.issued, ...token }).slice(0, -9) },
  'a token that cannot be read': {
    status: 200,
    body: json({ ...token, access_token: CANARY.issued }),
  },
  'a token that is no text': { status: 200, body: json({ ...token, access_token: [echoed] }) },
  'a type of it': { status: 200, body: json({ access_token: CANARY.issued, token_type: echoed }) },
  'an outage of it': { status: 500, body: echoed },
}

async function start(t: TestContext, said: () => Said) {
  const sent: string[] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      sent.push(`${request.headers.authorization} ${Buffer.concat(chunks).toString('utf8')}`)
      const answer = (text: string): unknown =>
        response.setHeader('content-type', 'application/json').end(text)
      if (request.url === '/introspect') {
        answer(
          json({
            ...{
              active: true,
              sub: 'alice',
              aud: 'https://storefront.example',
              token_type: 'Bearer',
            },
            ...{ scope: 'read:orders', note: echoed },
          }),
        )
        return
      }
      const { status, body, headers = {} } = said()
      response.writeHead(status, { 'content-type': 'application/json', ...headers })
      response.end(request.url === '/token' ? body : '{}')
    })
  })
  const url = await listen(t, server)
  const upstream = await startUpstream(t)
  const route = (name: string, exchange: object): object => ({
    ...{ name, match: { path: `/${name}` }, authenticate: { api: 'storefront' } },
    ...{ authorize: { scopes: ['read:orders'] }, proxy: { upstream: upstream.origin } },
    exchange: { audience: `https://${name}.internal`, scopes: ['a'], ...exchange },
  })
  const gateway = await startGateway(t, {
    admin: { listen: '127.0.0.1:0', token: ADMIN },
    issuers: {
      tenant: {
        ...{ issuer: `${url}/`, profile: 'rfc8693', jwksUri: `${url}/jwks` },
        ...{ tokenEndpoint: `${url}/token`, introspectionEndpoint: `${url}/introspect` },
      },
    },
    apis: {
      storefront: {
        ...{ issuer: 'tenant', audience: 'https://storefront.example', introspection: true },
        client: { id: 'storefront', secret: CANARY.secret },
      },
    },
    routes: [
      route('exchanged', {}),
      route('renewed', { renew: 'refresh-token' }),
      route('redeemed', {
        ...{ grant: 'refresh-token', refreshTokenHeader: 'x-refresh', returnRefreshToken: true },
        client: { id: 'web', secret: CANARY.web },
      }),
    ],
  })
  return { gateway, upstream, sent: () => sent.join(' ') }
}

for (const [what, said] of Object.entries(SAID)) {
  test(`an issuer that answers ${what} brings no credential into what is told`, async (t) => {
    const { gateway, upstream, sent } = await start(t, () => said)
    const authorization = `Bearer ${CANARY.subject}`
    let told = ''
    for (const path of ['exchanged', 'renewed', 'redeemed']) {
      const headers = { authorization, 'x-refresh': CANARY.refresh }
      const answer = await fetch(`${gateway.origin}/${path}`, { headers })
      const own = Object.fromEntries(answer.headers)
      // What replaced the caller's own is for the caller to know.
      if (own['x-refresh'] !== undefined) assert.equal(own['x-refresh'], CANARY.rotated)
      delete own['x-refresh']
      told += json(own) + (await answer.text())
      const question = { method: 'GET', target: `/${path}`, token: CANARY.subject }
      const explained = await fetch(`${gateway.adminOrigin}/explain`, {
        ...{ method: 'POST', body: json(question) },
        headers: { authorization: `Bearer ${ADMIN}`, 'content-type': 'application/json' },
      })
      assert.equal(explained.status, 200)
      told += await explained.text()
    }
    told += await (await fetch(`${gateway.adminOrigin}/metrics`)).text()
    told += gateway.logged()

    for (const [name, canary] of Object.entries(CANARY)) {
      // The upstream has the token that was issued for it, and repeats nothing of it.
      assert.equal(told.includes(canary), false, `${name} is told`)
      if (name !== 'issued') assert.equal(json(upstream.received).includes(canary), false, name)
    }
    assert.ok(told.includes('"result"'))
    assert.ok(sent().includes(CANARY.subject) && sent().includes(CANARY.refresh))
  })
}

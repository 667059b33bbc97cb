import assert from 'node:assert/strict'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import { generateKeyPairSync } from 'node:crypto'
import {
  createIntrospectionEndpoint,
  type IntrospectionEndpoint,
} from '../../src/exchange/introspection-endpoint.ts'
import type { Client } from '../../src/config/config.ts'
import { createOutbound } from '../../src/outbound.ts'
import { issuer } from '../support.ts'
import { claimsOf, listen } from '../system.ts'

interface Asked {
  readonly headers: http.IncomingHttpHeaders
  readonly form: URLSearchParams
}

const SECRET: Client = { id: 'storefront', method: 'client_secret_basic', secret: 'the secret' }

async function setting(
  t: TestContext,
  answer: (response: http.ServerResponse) => void,
  client = SECRET,
): Promise<{ endpoint: IntrospectionEndpoint; asked: Asked[]; url: string }> {
  const asked: Asked[] = []
  const server = http.createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      asked.push({ headers: request.headers, form: new URLSearchParams(text) })
      answer(response)
    })
  })
  const url = `${await listen(t, server)}/introspect`
  const outbound = createOutbound()
  t.after(() => outbound.close())
  const trusted = issuer({ identifiers: ['https://issuer.example/'] })
  const endpoint = createIntrospectionEndpoint({
    ...{ issuer: trusted, identifier: 'https://issuer.example/', client, outbound },
    urlOf: () => Promise.resolve(url),
  })
  t.after(() => endpoint.close())
  return { endpoint, asked, url }
}

const active = (response: http.ServerResponse): void => {
  response.setHeader('content-type', 'Application/JSON; charset=utf-8').end('{"active":true}')
}

test('the token goes into the form, and the secret into the header (RFC 7662, section 2.1)', async (t) => {
  const { endpoint, asked } = await setting(t, active)
  assert.deepEqual(await endpoint.ask('the+token/='), {
    mediaType: 'application/json',
    text: '{"active":true}',
  })
  const [{ headers, form }] = asked as [Asked]
  assert.deepEqual(
    [...form],
    [
      ['token', 'the+token/='],
      ['token_type_hint', 'access_token'],
    ],
  )
  const basic = Buffer.from('storefront:the+secret').toString('base64')
  assert.equal(headers.authorization, `Basic ${basic}`)
  assert.match(headers.accept ?? '', /^application\/token-introspection\+jwt, application\/json/)
})

test('a client with a key signs an assertion of its own for each question', async (t) => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
  const { endpoint, asked } = await setting(t, active, {
    ...{ id: 'storefront', method: 'private_key_jwt', algorithm: 'ES256' },
    ...{ privateKey: { pem }, keyId: 'one' },
  })
  for (let round = 0; round < 2; round++) await endpoint.ask('token')
  const assertions = asked.map(({ form }) => claimsOf(form.get('client_assertion') ?? ''))
  assert.deepEqual(
    assertions.map(({ iss, sub }) => [iss, sub]),
    [
      ['storefront', 'storefront'],
      ['storefront', 'storefront'],
    ],
  )
  assert.notEqual(assertions[0]!['jti'], assertions[1]!['jti'])
})

for (const [status, code, answered] of [
  [400, 'exchange_misconfigured', 502],
  [401, 'exchange_misconfigured', 502],
  [403, 'exchange_misconfigured', 502],
  [404, 'exchange_misconfigured', 502],
  [302, 'exchange_unavailable', 503],
  [204, 'exchange_unavailable', 503],
  [408, 'exchange_unavailable', 503],
  [500, 'exchange_unavailable', 503],
  [503, 'exchange_unavailable', 503],
] as const) {
  test(`${status} says nothing of the token: ${code}`, async (t) => {
    const { endpoint } = await setting(t, (response) => response.writeHead(status).end())
    await assert.rejects(endpoint.ask('token'), { code, status: answered })
  })
}

test('an issuer that throttles says when to come back', async (t) => {
  const { endpoint } = await setting(t, (response) =>
    response.writeHead(429, { 'retry-after': '7' }).end(),
  )
  await assert.rejects(endpoint.ask('token'), {
    ...{ code: 'exchange_unavailable', throttled: true, retryAfter: 7 },
  })
})

test('an issuer that cuts the connection is one that cannot be asked', async (t) => {
  const { endpoint } = await setting(t, (response) => response.destroy())
  await assert.rejects(endpoint.ask('token'), { code: 'exchange_unavailable', retryAfter: 1 })
})

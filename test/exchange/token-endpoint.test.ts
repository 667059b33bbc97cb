import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import type { Client } from '../../src/config/config.ts'
import type { GatewayError } from '../../src/errors.ts'
import { PROFILES } from '../../src/exchange/profiles.ts'
import {
  createTokenEndpoint,
  type TokenAnswer,
  type TokenEndpoint,
  type TokenRequest,
} from '../../src/exchange/token-endpoint.ts'
import { createOutbound, type Outbound } from '../../src/outbound.ts'
import { IDENTIFIER, listen } from '../support.ts'

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ISSUED_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const GOOD = { access_token: 'issued', token_type: 'Bearer', issued_token_type: ISSUED_TYPE }
const POST: Client = { id: 'client', method: 'client_secret_post', secret: 'a secret' }
/** What an issuer might say, and no caller may read. */
const ITS_WORDS = 'its-own-words'

type ProfileName = keyof typeof PROFILES
type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void

interface Seen {
  readonly request: IncomingMessage
  readonly body: string
}

/** A token endpoint on loopback with this behaviour, what it saw, and our access to it. */
async function endpointAt(
  context: TestContext,
  handler: Handler,
  { client = POST, profile = 'rfc8693' as ProfileName } = {},
): Promise<{ endpoint: TokenEndpoint; seen: Seen[] }> {
  const seen: Seen[] = []
  const origin = await listen(context, (request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      seen.push({ request, body })
      handler(request, response, body)
    })
  })
  const outbound = createOutbound()
  context.after(() => outbound.close())
  return { endpoint: accessTo(`${origin}/token`, outbound, { client, profile }), seen }
}

function accessTo(
  url: string,
  outbound: Outbound,
  { client = POST, profile = 'rfc8693' as ProfileName } = {},
): TokenEndpoint {
  const options = { issuer: IDENTIFIER, url, client, profile: PROFILES[profile], outbound }
  return createTokenEndpoint(options)
}

const answering =
  (status: number, body: unknown, headers: Record<string, string> = {}): Handler =>
  (_, response) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text)
  }

function exchange(
  endpoint: TokenEndpoint,
  given: Partial<TokenRequest> = {},
): Promise<TokenAnswer> {
  const form = new URLSearchParams({ subject_token: 'theirs' })
  return endpoint.request({ grantType: GRANT, form, timeoutMs: 10_000, ...given })
}

async function failure(promise: Promise<unknown>): Promise<GatewayError> {
  const outcome = await promise.then(
    (value) => assert.fail(`it answered ${JSON.stringify(value)}`),
    (error: unknown) => error as GatewayError,
  )
  assert.equal(outcome.name, 'GatewayError', String(outcome))
  assert.doesNotMatch(outcome.message, new RegExp(ITS_WORDS))
  return outcome
}

test('an exchange posts its form and the client’s secret, and nothing else', async (context) => {
  const { endpoint, seen } = await endpointAt(context, answering(200, GOOD))
  const form = new URLSearchParams({ subject_token: 'a.b.c', scope: 'read write', audience: 'x&y' })
  await exchange(endpoint, { form })
  const [{ request, body }] = seen as [Seen]
  assert.equal(`${request.method} ${request.url}`, 'POST /token')
  assert.match(request.headers['content-type'] ?? '', /^application\/x-www-form-urlencoded/)
  assert.equal(request.headers.authorization, undefined)
  assert.equal(request.headers.cookie, undefined)
  assert.deepEqual([...new URLSearchParams(body)].sort(), [
    ['audience', 'x&y'],
    ['client_id', 'client'],
    ['client_secret', 'a secret'],
    ['grant_type', GRANT],
    ['scope', 'read write'],
    ['subject_token', 'a.b.c'],
  ])
})

test('the client’s id and secret are form-encoded before Basic (RFC 6749, 2.3.1)', async (context) => {
  const client: Client = { id: 'a:b c', method: 'client_secret_basic', secret: 'p:ä+%/&= ~' }
  const { endpoint, seen } = await endpointAt(context, answering(200, GOOD), { client })
  await exchange(endpoint)
  const [{ request, body }] = seen as [Seen]
  const [scheme, encoded = ''] = (request.headers.authorization ?? '').split(' ')
  assert.equal(scheme, 'Basic')
  const [id, secret] = Buffer.from(encoded, 'base64').toString('latin1').split(':')
  assert.equal(id, 'a%3Ab+c')
  assert.equal(secret, 'p%3A%C3%A4%2B%25%2F%26%3D+%7E')
  const form = new URLSearchParams(body)
  assert.deepEqual([...form.keys()].sort(), ['grant_type', 'subject_token'])
})

test('the form that was given is left as it was', async (context) => {
  const { endpoint } = await endpointAt(context, answering(200, GOOD))
  const form = new URLSearchParams({ subject_token: 'theirs' })
  await exchange(endpoint, { form })
  assert.deepEqual([...form.keys()], ['subject_token'])
})

// Two, since undici opens another where a request comes before it has put the first connection back.
test('many exchanges, one after the other, share kept connections', async (context) => {
  const { endpoint, seen } = await endpointAt(context, answering(200, GOOD))
  for (let at = 0; at < 20; at++) await exchange(endpoint)
  assert.equal(seen.length, 20)
  const connections = new Set(seen.map(({ request }) => request.socket)).size
  assert.ok(connections <= 2, `${connections} connections`)
})

test('an answer is handed on as it came, whatever its lifetime', async (context) => {
  const body = { ...GOOD, token_type: 'BEARER', expires_in: 3_600, scope: 'read' }
  const { endpoint } = await endpointAt(context, answering(200, body))
  assert.deepEqual(await exchange(endpoint), {
    accessToken: 'issued',
    tokenType: 'bearer',
    issuedTokenType: ISSUED_TYPE,
    expiresIn: 3_600,
    scope: 'read',
  })
})

for (const lifetime of [0, -1, 0.5, '300', 'soon', '', true, [300], { seconds: 1 }, 31_536_000]) {
  test(`an expires_in of ${JSON.stringify(lifetime)} is left to the check`, async (context) => {
    const { endpoint } = await endpointAt(
      context,
      answering(200, { ...GOOD, expires_in: lifetime }),
    )
    assert.deepEqual((await exchange(endpoint)).expiresIn, lifetime)
  })
}

test('members that are null are members that are not there', async (context) => {
  const nothing = { expires_in: null, scope: null, refresh_token: null, id_token: null, x: null }
  const { endpoint } = await endpointAt(context, answering(200, { ...GOOD, ...nothing }))
  const { expiresIn, scope } = await exchange(endpoint)
  assert.deepEqual([expiresIn, scope], [undefined, undefined])
})

test('an ID token that nobody asked for is not looked at', async (context) => {
  const { endpoint } = await endpointAt(context, answering(200, { ...GOOD, id_token: 'no.jwt' }))
  assert.equal((await exchange(endpoint)).accessToken, 'issued')
})

test('an issuer cannot name a lifetime by our own name for it', async (context) => {
  const { endpoint } = await endpointAt(
    context,
    answering(200, { ...GOOD, 'behalf:expires_in': 60, 'behalf:token_type': 'N_A' }),
  )
  const { expiresIn, tokenType } = await exchange(endpoint)
  assert.deepEqual([expiresIn, tokenType], [undefined, 'bearer'])
})

for (const [given, told] of [
  ['N_A', 'n_a'],
  ['DPoP', 'dpop'],
  ['mac', 'mac'],
  [undefined, ''],
  [7, ''],
] as const) {
  test(`a token_type of ${JSON.stringify(given)} is left to the check, which refuses it`, async (context) => {
    const { endpoint } = await endpointAt(context, answering(200, { ...GOOD, token_type: given }))
    assert.equal((await exchange(endpoint)).tokenType, told)
  })
}

// The status, the OAuth error, and what it means to each profile.
for (const [status, error, rfc8693, auth0] of [
  [401, 'invalid_client', 'exchange_misconfigured', 'exchange_misconfigured'],
  [400, 'invalid_client', 'exchange_misconfigured', 'exchange_misconfigured'],
  [403, 'unauthorized_client', 'exchange_misconfigured', 'exchange_misconfigured'],
  [400, 'unsupported_grant_type', 'exchange_misconfigured', 'exchange_misconfigured'],
  [400, 'invalid_grant', 'invalid_token', 'invalid_token'],
  [403, 'invalid_grant', 'invalid_token', 'invalid_token'],
  [400, 'invalid_request', 'invalid_token', 'exchange_denied'],
  [400, 'invalid_token', 'exchange_denied', 'invalid_token'],
  [403, 'mfa_required', 'exchange_denied', 'insufficient_user_authentication'],
  [400, 'invalid_target', 'exchange_denied', 'exchange_denied'],
  [400, 'invalid_scope', 'exchange_denied', 'exchange_denied'],
  [403, 'access_denied', 'exchange_denied', 'exchange_denied'],
  [400, 'something_new', 'exchange_denied', 'exchange_denied'],
  [400, 'temporarily_unavailable', 'exchange_unavailable', 'exchange_denied'],
  // Names that every object answers to are errors like any other.
  [400, 'constructor', 'exchange_denied', 'exchange_denied'],
  [400, '__proto__', 'exchange_denied', 'exchange_denied'],
  [500, 'invalid_grant', 'exchange_unavailable', 'exchange_unavailable'],
  [503, 'temporarily_unavailable', 'exchange_unavailable', 'exchange_unavailable'],
  [408, 'invalid_request', 'exchange_unavailable', 'exchange_unavailable'],
] as const) {
  for (const [profile, code] of [['rfc8693', rfc8693] as const, ['auth0', auth0] as const]) {
    test(`${status} ${error} is ${code} to ${profile}`, async (context) => {
      const { endpoint } = await endpointAt(
        context,
        answering(status, { error, error_description: ITS_WORDS }),
        { profile },
      )
      const refusal = await failure(exchange(endpoint))
      assert.equal(refusal.code, code)
      assert.equal(refusal.throttled, false)
      assert.equal(refusal.retryAfter, code === 'exchange_unavailable' ? 1 : undefined)
    })
  }
}

for (const [status, challenge, body, code] of [
  [401, 'Basic realm="issuer"', { error: 'invalid_client' }, 'exchange_misconfigured'],
  [401, 'Basic realm="issuer"', '', 'exchange_misconfigured'],
  [401, 'Basic', { error: 'invalid_grant' }, 'invalid_token'],
  [400, 'Bearer error="invalid_request"', { error: 'invalid_grant' }, 'invalid_token'],
  [403, 'Bearer', { error: 'access_denied' }, 'exchange_denied'],
  [503, 'Basic', '', 'exchange_unavailable'],
] as const) {
  const named = typeof body === 'string' ? 'an empty body' : body.error
  test(`${status} with a challenge (${challenge}) and ${named} is ${code}`, async (context) => {
    const { endpoint } = await endpointAt(
      context,
      answering(status, body, { 'www-authenticate': challenge }),
    )
    assert.equal((await failure(exchange(endpoint))).code, code)
  })
}

const NOW = Date.parse('2030-01-01T00:00:00Z')

for (const [what, headers, seconds] of [
  ['Retry-After in seconds', { 'retry-after': '7' }, 7],
  ['Retry-After as a date', { 'retry-after': 'Tue, 01 Jan 2030 00:00:09 GMT' }, 9],
  ['a Retry-After in the past', { 'retry-after': 'Mon, 31 Dec 2029 23:59:00 GMT' }, 1],
  ['a Retry-After of a day', { 'retry-after': '86400' }, 60],
  ['a Retry-After of 0', { 'retry-after': '0' }, 1],
  ['a Retry-After that is no time', { 'retry-after': 'later' }, 1],
  ['X-RateLimit-Reset', { 'x-ratelimit-reset': String(NOW / 1_000 + 4) }, 4],
  ['an X-RateLimit-Reset in the past', { 'x-ratelimit-reset': String(NOW / 1_000 - 4) }, 1],
  ['an X-RateLimit-Reset that is no time', { 'x-ratelimit-reset': 'soon' }, 1],
  [
    'Retry-After before X-RateLimit-Reset',
    { 'retry-after': '3', 'x-ratelimit-reset': String(NOW / 1_000 + 30) },
    3,
  ],
  ['neither', {}, 1],
] as const) {
  test(`429 with ${what} asks for ${seconds} s`, async (context) => {
    context.mock.timers.enable({ apis: ['Date'], now: NOW })
    const { endpoint } = await endpointAt(
      context,
      answering(429, { error: 'too_many_requests', error_description: ITS_WORDS }, headers),
    )
    const refusal = await failure(exchange(endpoint))
    assert.deepEqual(
      [refusal.code, refusal.throttled, refusal.retryAfter],
      ['exchange_unavailable', true, seconds],
    )
  })
}

test('429 is a throttle also without a word of OAuth', async (context) => {
  const html = { 'content-type': 'text/html', 'retry-after': '5' }
  const { endpoint } = await endpointAt(context, answering(429, ITS_WORDS, html))
  const refusal = await failure(exchange(endpoint))
  assert.deepEqual(
    [refusal.code, refusal.throttled, refusal.retryAfter],
    ['exchange_unavailable', true, 5],
  )
})

for (const [what, handler, code] of [
  ['HTML with 200', answering(200, '<p>', { 'content-type': 'text/html' }), 'exchange_unavailable'],
  ['200 without a token', answering(200, { token_type: 'Bearer' }), 'exchange_unavailable'],
  ['200 with half an object', answering(200, '{"access_token":"x'), 'exchange_unavailable'],
  ['200 with a list', answering(200, [GOOD]), 'exchange_unavailable'],
  ['200 with null', answering(200, 'null'), 'exchange_unavailable'],
  ['200 with nothing', answering(200, ''), 'exchange_unavailable'],
  [
    '200 with a number for a token',
    answering(200, { ...GOOD, access_token: 7 }),
    'exchange_unavailable',
  ],
  ['201', answering(201, GOOD), 'exchange_unavailable'],
  ['204', answering(204, ''), 'exchange_unavailable'],
  [
    '502 of a balancer',
    answering(502, '<p>', { 'content-type': 'text/html' }),
    'exchange_unavailable',
  ],
  [
    '404 of another site',
    answering(404, '<p>', { 'content-type': 'text/html' }),
    'exchange_misconfigured',
  ],
  ['403 without an error', answering(403, {}), 'exchange_misconfigured'],
  ['400 with an error that is no text', answering(400, { error: 7 }), 'exchange_misconfigured'],
  ['a reset', (request) => void request.socket.destroy(), 'exchange_unavailable'],
  [
    'half an answer',
    (request, response) => {
      response
        .writeHead(200, { 'content-length': 1_000 })
        .write('{', () => request.socket.destroy())
    },
    'exchange_unavailable',
  ],
  [
    'an answer without an end',
    answering(200, { ...GOOD, filling: 'x'.repeat(2 * 1024 * 1024) }),
    'exchange_unavailable',
  ],
] as readonly (readonly [string, Handler, string])[]) {
  test(`${what} is ${code}`, async (context) => {
    const { endpoint, seen } = await endpointAt(context, handler)
    assert.equal((await failure(exchange(endpoint))).code, code)
    assert.equal(seen.length, 1, 'a token request is never sent twice')
  })
}

for (const status of [301, 302, 303, 307, 308]) {
  test(`a redirection (${status}) is not followed: the secret goes nowhere else`, async (context) => {
    const { endpoint, seen } = await endpointAt(context, (request, response) => {
      if (request.url === '/token') response.writeHead(status, { location: '/elsewhere' }).end()
      else answering(200, GOOD)(request, response, '')
    })
    assert.equal((await failure(exchange(endpoint))).code, 'exchange_unavailable')
    assert.deepEqual(
      seen.map(({ request }) => request.url),
      ['/token'],
    )
  })
}

test('an issuer that nobody listens at is unavailable', async (context) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const outbound = createOutbound()
  context.after(() => outbound.close())
  const refusal = await failure(exchange(accessTo(`http://127.0.0.1:${port}/token`, outbound)))
  assert.deepEqual([refusal.code, refusal.retryAfter], ['exchange_unavailable', 1])
})

for (const [what, handler] of [
  ['never answers', () => undefined],
  ['never ends its answer', (_, response) => void response.writeHead(200).write('{')],
] as readonly (readonly [string, Handler])[]) {
  test(`an issuer that ${what} is unavailable when the time is over`, async (context) => {
    const { endpoint } = await endpointAt(context, handler)
    const refusal = await failure(exchange(endpoint, { timeoutMs: 150 }))
    assert.deepEqual([refusal.code, refusal.throttled], ['exchange_unavailable', false])
  })
}

test('each exchange has its own time', async (context) => {
  // Time limits alone keep no process alive.
  const alive = setTimeout(() => undefined, 60_000)
  context.after(() => clearTimeout(alive))
  const outbound: Outbound = {
    fetch: (_, { body = '', signal } = {}) =>
      new Promise((resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error))
        if (!body.includes('short')) resolve(Response.json(GOOD))
      }),
    close: async () => undefined,
  }
  const endpoint = accessTo('https://issuer.example/token', outbound)
  const form = new URLSearchParams({ subject_token: 'short' })
  const short = failure(exchange(endpoint, { form, timeoutMs: 100 }))
  assert.equal((await exchange(endpoint, { timeoutMs: 60_000 })).accessToken, 'issued')
  assert.equal((await short).code, 'exchange_unavailable')
})

test('any number of milliseconds is a time that an exchange may take', async () => {
  // 1001 / 1000 * 1000 is no whole number, and timers take nothing else.
  const odd = Array.from({ length: 5_000 }, (_, at) => at + 1).filter(
    (ms) => !Number.isInteger((ms / 1_000) * 1_000),
  )
  assert.ok(odd.length > 0)
  const outbound: Outbound = {
    fetch: async () => Response.json(GOOD),
    close: async () => undefined,
  }
  const endpoint = accessTo('https://issuer.example/token', outbound)
  for (const timeoutMs of [...odd, 0.5, -1, 0]) {
    assert.equal((await exchange(endpoint, { timeoutMs })).accessToken, 'issued', String(timeoutMs))
  }
})

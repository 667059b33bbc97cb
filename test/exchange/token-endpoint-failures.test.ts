import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import { createOutbound } from '../../src/outbound.ts'
import {
  accessTo,
  answering,
  endpointAt,
  exchange,
  failure,
  GOOD,
  type Handler,
  ITS_WORDS,
} from './loopback-issuer.ts'

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

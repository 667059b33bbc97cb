import assert from 'node:assert/strict'
import test from 'node:test'
import type { Client } from '../../src/config/config.ts'
import type { Outbound } from '../../src/outbound.ts'
import {
  accessTo,
  answering,
  endpointAt,
  exchange,
  failure,
  GOOD,
  GRANT,
  ISSUED_TYPE,
  type Seen,
} from './loopback-issuer.ts'

test('an exchange posts its form and the client’s secret, and nothing else', async (context) => {
  const { endpoint, seen } = await endpointAt(context, answering(200, GOOD))
  const form = new URLSearchParams({ subject_token: 'a.b.c', scope: 'read write', audience: 'x&y' })
  await exchange(endpoint, { form })
  const [{ request, body }] = seen as [Seen]
  assert.equal(`${request.method} ${request.url}`, 'POST /token')
  assert.match(request.headers['content-type'] ?? '', /^application\/x-www-form-urlencoded/)
  assert.equal(request.headers.authorization, undefined)
  assert.equal(request.headers.cookie, undefined)
  const sent = new URLSearchParams(body)
  sent.sort()
  assert.deepEqual(
    [...sent],
    [
      ['audience', 'x&y'],
      ['client_id', 'client'],
      ['client_secret', 'a secret'],
      ['grant_type', GRANT],
      ['scope', 'read write'],
      ['subject_token', 'a.b.c'],
    ],
  )
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

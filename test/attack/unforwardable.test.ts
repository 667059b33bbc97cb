/** A request that cannot be forwarded in one meaning costs nothing: no exchange, no request to the upstream. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startIssuer } from '../issuer.ts'
import { oneRoute, startGateway, startUpstream } from '../system.ts'
import { ask, request } from './wire.ts'

const chunked = ['Transfer-Encoding: chunked']

for (const [what, lines, body, code] of [
  ['a Host that is none', [], '', 'invalid_request'],
  ['another transfer coding', ['Transfer-Encoding: gzip, chunked'], '0\r\n\r\n', 'invalid_request'],
  ['another expectation', ['Expect: 200-ok'], '', 'expectation_failed'],
  [
    'a hundred lines too many',
    Array.from({ length: 120 }, (_, index) => `X-${index}: 1`),
    '',
    'headers_too_large',
  ],
] as const) {
  test(`${what} is refused before anything is exchanged for it`, async (t) => {
    const issuer = await startIssuer(t)
    const upstream = await startUpstream(t)
    const gateway = await startGateway(
      t,
      oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    )
    const authorization = `Authorization: Bearer ${await issuer.token()}`
    const start = body === '' ? 'GET /orders' : 'POST /orders'
    const bytes = request(start, [authorization, ...lines], body)
    const text =
      what === 'a Host that is none' ? bytes.replace('Host: gateway', 'Host: a@b') : bytes
    assert.equal((await ask(t, gateway.origin, text)).code, code)
    assert.deepEqual([issuer.exchanges.length, upstream.received.length], [0, 0])

    const twin = body === '' ? [] : chunked
    const good = request(start, [authorization, ...twin], body)
    assert.equal((await ask(t, gateway.origin, good)).status, 200)
    assert.deepEqual([issuer.exchanges.length, upstream.received.length], [1, 1])
  })
}

test('claims of the subject token reach the upstream through the whole path, and no forged ones', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const headers = { set: { 'X-User': '{claims.sub}', 'X-Tenant': '{claims.org_id}' } }
  const proxy = { headers }
  const gateway = await startGateway(
    t,
    oneRoute({ issuer: issuer.url, upstream: upstream.origin, proxy }),
  )
  const forged = ['X-User: root', 'x_user: root', 'X-Tenant: all', 'X-TENANT: all']
  for (let count = 0; count < 2; count++) {
    const authorization = `Authorization: Bearer ${await issuer.token()}`
    const bytes = request('GET /orders', [authorization, ...forged])
    assert.equal((await ask(t, gateway.origin, bytes)).status, 200)
  }
  for (const { headers } of upstream.received) {
    assert.deepEqual(
      [headers['x-user'], headers['x_user'], headers['x-tenant']],
      ['user|alice', undefined, undefined],
    )
  }
})

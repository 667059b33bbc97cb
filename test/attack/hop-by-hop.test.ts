/** A hostile caller that names, in `Connection`, what others are to see. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holder, ORIGIN } from '../authenticate/proofs.ts'
import { startIssuer } from '../issuer.ts'
import { startRecorder } from '../proxy/upstream.ts'
import { claimsOf, oneRoute, startGateway } from '../system.ts'
import { ask, request } from './wire.ts'

for (const named of [
  'authorization',
  'DPoP',
  'authorization, dpop',
  'close, dpop',
  'dpop;q=1, Authorization',
]) {
  test(`Connection: ${named} takes nobody's proof away, the caller's nor ours`, async (t) => {
    const issuer = await startIssuer(t)
    const upstream = await startRecorder(t)
    const api = { proofOfPossession: { mechanism: 'dpop' } }
    const gateway = await startGateway(t, {
      ...oneRoute({ issuer: issuer.url, upstream: upstream.url, api }),
      server: { listen: '127.0.0.1:0', publicOrigin: ORIGIN },
    })
    const by = await holder()
    const token = await issuer.token({ cnf: { jkt: by.jkt } })
    const lines = [`Connection: ${named}`, `Authorization: DPoP ${token}`]

    const bare = await ask(t, gateway.origin, request('GET /orders', lines))
    assert.deepEqual([bare.status, bare.code], [401, 'invalid_dpop_proof'])
    const proven = [...lines, `DPoP: ${await by.proof(token)}`]
    const { status } = await ask(t, gateway.origin, request('GET /orders', proven))
    assert.equal(status, 200)

    assert.equal(upstream.requests.length, 1)
    const [authorization] = upstream.header(0, 'authorization')
    assert.equal(claimsOf(authorization)['aud'], 'https://orders.internal')
    assert.deepEqual(upstream.header(0, 'dpop'), [])
    assert.deepEqual(upstream.header(0, 'via'), ['1.1 behalf'])
  })
}

test('an offer of another protocol on a route that takes none is a request like any other, and the last', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startRecorder(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.url }))
  const token = await issuer.token()
  const behind = request('GET /orders/evil', [`Authorization: Bearer ${token}`])
  for (const offer of ['h2c', 'TLS/1.0', 'x, y', 'HTTP/2.0']) {
    const lines = [`Authorization: Bearer ${token}`, 'Connection: upgrade', `Upgrade: ${offer}`]
    const answer = await ask(t, gateway.origin, request('GET /orders', lines) + behind)
    assert.equal(answer.status, 200, offer)
    assert.match(answer.head, /^connection: close\r$/im)
  }
  assert.deepEqual(
    upstream.requests.map(({ path }) => path),
    ['/orders', '/orders', '/orders', '/orders'],
  )
  assert.doesNotMatch(upstream.raw(), /^upgrade|evil/im)
})

test('an upstream that switches unasked is unavailable, and nothing passes to it', async (t) => {
  const issuer = await startIssuer(t)
  const switched = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n'
  const upstream = await startRecorder(t, switched)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.url }))
  const lines = [`Authorization: Bearer ${await issuer.token()}`]
  for (const offer of [[], ['Connection: upgrade', 'Upgrade: h2c']]) {
    const answer = await ask(t, gateway.origin, request('POST /orders', [...lines, ...offer]))
    assert.deepEqual([answer.status, answer.code], [502, 'upstream_unavailable'])
  }
  assert.equal(upstream.leftOver(), 0)
})

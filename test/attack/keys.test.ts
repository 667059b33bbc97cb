/** A key set that its issuer, or who stands before it, does not give as it should. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import { startIssuer } from '../issuer.ts'
import { bearer, listen, oneRoute, startGateway, startUpstream } from '../system.ts'
import { compact, ecSigner, type Members, type Signer } from './forge.ts'

const NOW = Date.parse('2027-01-01T00:00:00Z')
const MINUTE = 60_000

interface World {
  /** How the key set is answered. */
  answer: (response: http.ServerResponse) => void
  /** How often it was asked for. */
  asked: number
  readonly ask: (token: string) => Promise<Response>
  /** The status alone. */
  readonly get: (token: string) => Promise<number>
  readonly tokenOf: (signer: Signer, header?: Members) => string
}

async function world(t: TestContext, first: World['answer']): Promise<World> {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t, (_, response) => response.end('ok'))
  const server = http.createServer((_, response) => {
    made.asked++
    made.answer(response)
  })
  const jwksUri = `${await listen(t, server)}/jwks`
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin, api: { algorithms: ['ES256'] } }),
    issuers: { tenant: { issuer: issuer.url, profile: 'rfc8693', jwksUri } },
  })
  const made: World = {
    answer: first,
    asked: 0,
    ask: (token) => fetch(`${gateway.origin}/orders`, bearer(token)),
    async get(token) {
      const answer = await made.ask(token)
      await answer.arrayBuffer()
      return answer.status
    },
    tokenOf({ header, sign }, more = {}) {
      const iat = Math.floor(NOW / 1_000)
      const whose = { iss: issuer.url, aud: 'https://storefront.example', sub: 'user|alice' }
      const claims = { ...whose, iat, exp: iat + 86_400, jti: randomUUID(), scope: 'read:orders' }
      return compact({ ...header, ...more }, claims, sign)
    },
  }
  return made
}

const own = ecSigner('own')
const next = ecSigner('next')
const stranger = ecSigner('stranger')
const holding =
  (...signers: readonly Signer[]): World['answer'] =>
  (response) =>
    response.end(JSON.stringify({ keys: signers.map(({ jwk }) => jwk) }))

const FAULTS: Readonly<Record<string, World['answer']>> = {
  'an end': (response) => response.destroy(),
  'an error': (response) => response.writeHead(500).end(),
  'a limit on requests': (response) => response.writeHead(429, { 'retry-after': '3600' }).end('{}'),
  'a redirect': (response) => response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
  'a page': (response) => response.end('<html>'),
  'no keys at all': (response) => response.end('{}'),
  'keys twice': (response) => response.end(`{"keys":[],"keys":[${JSON.stringify(own.jwk)}]}`),
  'more than fits': (response) => response.end(`{"keys":[]${' '.repeat(1_200_000)}}`),
  'lists without end': (response) => response.end(`{"keys":${'['.repeat(500_000)}`),
  'half of it': (response) => {
    response.writeHead(200, { 'content-length': 99 })
    response.write('{"keys":[', () => response.destroy())
  },
  'a byte at a time': (response) => {
    const dripping = setInterval(() => response.write(' '), 100)
    response.on('close', () => clearInterval(dripping))
  },
}
for (const [what, fault] of Object.entries(FAULTS)) {
  test(`a key set that is answered with ${what}: 503 with Retry-After, until it is mended`, async (t) => {
    const made = await world(t, fault)
    const token = made.tokenOf(own)
    await assertUnavailable(made, token)
    assert.equal(made.asked, 1)
    made.answer = holding(own)
    t.mock.timers.tick(1_000)
    assert.equal(await made.get(token), 200)
  })

  test(`a known key set that is then answered with ${what} is used for an hour more`, async (t) => {
    const made = await world(t, holding(own))
    assert.equal(await made.get(made.tokenOf(own)), 200)
    made.answer = fault
    for (let minutes = 0; minutes < 69; minutes += 23) {
      t.mock.timers.tick(23 * MINUTE - 1)
      assert.equal(await made.get(made.tokenOf(own)), 200, `after ${minutes + 23} minutes`)
    }
    t.mock.timers.tick(MINUTE + 3)
    await assertUnavailable(made, made.tokenOf(own))
    made.answer = holding(own)
    t.mock.timers.tick(5_000)
    assert.equal(await made.get(made.tokenOf(own)), 200)
  })
}

async function assertUnavailable({ ask }: World, token: string): Promise<void> {
  const answer = await ask(token)
  assert.equal(answer.status, 503)
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-5]$/)
  assert.match(await answer.text(), /"code":"keys_unavailable"/)
}

test('keys are rotated under a flood of unknown ones: nobody whose key is known is refused, and the new key waits for no more than one cooldown', async (t) => {
  const made = await world(t, holding(own))
  assert.equal(await made.get(made.tokenOf(own)), 200)
  let acceptedAt: number | undefined
  for (let second = 1; second <= 30; second++) {
    t.mock.timers.tick(1_000)
    if (second === 12) made.answer = holding(own, next)
    const flood = Array.from({ length: 20 }, () => made.tokenOf(stranger, { kid: randomUUID() }))
    const floods = await Promise.all(flood.map(made.get))
    assert.deepEqual([...new Set(floods)], [401])
    assert.equal(await made.get(made.tokenOf(own)), 200)
    if (second >= 12 && (await made.get(made.tokenOf(next))) === 200) acceptedAt ??= second
  }
  assert.ok(acceptedAt !== undefined && acceptedAt <= 12 + 5, `accepted at ${acceptedAt}`)
  // At the start, and once in five seconds.
  assert.ok(made.asked <= 1 + 30 / 5, `asked ${made.asked} times`)
})

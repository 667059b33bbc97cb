import assert from 'node:assert/strict'
import test from 'node:test'
import { cached, kept, type Kept } from '../../src/exchange/cache.ts'
import { joined } from '../../src/exchange/join.ts'
import { createPurges, type Purge, tagsOf } from '../../src/exchange/purge.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { api, IDENTIFIER, permit } from '../support.ts'
import { byHand, call, settled } from './by-hand.ts'

const OTHER = 'https://other.example/'
const TAGS = tagsOf(
  permit({ subject: { subject: 'alice', claims: { sid: 'session', azp: 'spa' } } }),
)

for (const [what, purge, reaches] of [
  ['its subject', { issuer: IDENTIFIER, subject: 'alice' }, true],
  ['its subject at any issuer', { subject: 'alice' }, true],
  ['another subject', { issuer: IDENTIFIER, subject: 'bob' }, false],
  ['the same name at another issuer', { issuer: OTHER, subject: 'alice' }, false],
  ['its session', { issuer: IDENTIFIER, sid: 'session' }, true],
  ['another session', { sid: 'other' }, false],
  ['a session named like its subject', { sid: 'alice' }, false],
  ['the client that it was issued to', { client: 'spa' }, true],
  ['the client that exchanged it', { client: api().client!.id }, true],
  ['another client', { client: 'other' }, false],
  ['its issuer', { issuer: IDENTIFIER }, true],
  ['another issuer', { issuer: OTHER }, false],
  ['another subject, and its session', { subject: 'bob', sid: 'session' }, true],
] as const satisfies readonly (readonly [string, Purge, boolean])[]) {
  test(`a purge of ${what} ${reaches ? 'reaches' : 'does not reach'} a token`, () => {
    const purges = createPurges()
    purges.purge(purge)
    assert.equal(purges.reaches(TAGS, 0), reaches)
    assert.equal(purges.reaches(TAGS, purges.generation), false)
  })
}

for (const [dialect, claims] of [
  ['Okta', { cid: 'spa' }],
  ['Entra, version 1', { appid: 'spa' }],
  ['Entra, version 2', { azp: 'spa' }],
  ['RFC 9068', { client_id: 'spa' }],
  ['nobody, with two names', { azp: 'other', client_id: 'spa' }],
] as const) {
  test(`a client is purged as its tokens name it, in the dialect of ${dialect}`, () => {
    const purges = createPurges()
    purges.purge({ client: 'spa' })
    assert.equal(purges.reaches(tagsOf(permit({ subject: { claims } })), 0), true)
  })
}

test('a purge of the client that redeems reaches what it redeemed', () => {
  const client = { ...api().client!, id: 'web' }
  const redeemed = permit({ route: { exchange: { grant: 'refresh-token', client } } })
  const purges = createPurges()
  purges.purge({ client: 'web' })
  assert.equal(purges.reaches(tagsOf(redeemed), 0), true)
  assert.equal(purges.reaches(tagsOf(permit()), 0), false)
})

test('a purge that names nothing is refused', () => {
  assert.throws(() => createPurges().purge({}), TypeError)
})

test('however many purges there are, none is forgotten and few are remembered', () => {
  const purges = createPurges(3)
  purges.purge({ subject: 'alice' })
  const { generation } = purges
  for (const name of ['a', 'b', 'c', 'd']) purges.purge({ subject: name })
  assert.equal(purges.reaches(TAGS, 0), true)
  assert.equal(
    purges.reaches(TAGS, generation),
    true,
    'those that were forgotten were of everything',
  )
  assert.equal(purges.reaches(TAGS, purges.generation), false)
})

function layers() {
  const store = createMemoryStore<Kept>({ maxEntries: 10, maxBytes: 100_000 })
  const purges = createPurges()
  const { exchange, begun } = byHand()
  return {
    exchange: cached(joined(kept(exchange, store, purges), purges), store, purges),
    purges,
    begun,
    store,
  }
}

const alice = permit({ subject: { subject: 'alice' } })

test('what was purged is a miss, and what comes after it is kept', async () => {
  const { exchange, purges, begun } = layers()
  const first = call(exchange, alice)
  begun[0]!.answer()
  await first.answer
  purges.purge({ subject: 'bob' })
  assert.equal(call(exchange, alice).ask.outcome, 'hit')
  purges.purge({ subject: 'alice' })
  const second = call(exchange, alice)
  assert.equal(second.ask.outcome, 'miss')
  begun[1]!.answer()
  await second.answer
  assert.equal(call(exchange, alice).ask.outcome, 'hit')
  assert.equal(begun.length, 2)
})

test('an exchange that began before the purge is neither kept nor joined', async () => {
  const { exchange, purges, begun, store } = layers()
  const before = call(exchange, alice)
  purges.purge({ subject: 'alice' })
  const after = call(exchange, alice)
  await settled()
  assert.equal(begun.length, 2)
  begun[0]!.answer()
  await before.answer
  await settled()
  assert.equal(store.size, 0)
  const third = call(exchange, alice)
  assert.equal(third.ask.outcome, 'joined')
  begun[1]!.answer()
  await Promise.all([after.answer, third.answer])
  assert.equal(store.size, 1)
})

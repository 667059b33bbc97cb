import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { authorize, type Permit } from '../../src/authorize/authorize.ts'
import type { Client } from '../../src/config/config.ts'
import type { GatewayError } from '../../src/errors.ts'
import { thumbprintOf } from '../../src/exchange/binding.ts'
import { cached, type Kept, kept } from '../../src/exchange/cache.ts'
import { dpopKeyOf } from '../../src/exchange/dpop.ts'
import { joined } from '../../src/exchange/join.ts'
import { exchangeKey, refusalKey } from '../../src/exchange/key.ts'
import { createPurges } from '../../src/exchange/purge.ts'
import { type Replaced, replacing } from '../../src/exchange/replace.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { settled } from './by-hand.ts'
import { api, ask, issuedToken, route, subject } from '../support.ts'

const keyPem = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
    ...{ type: 'pkcs8', format: 'pem' },
  }) as string

const SECRET = { id: 'gateway', method: 'client_secret_post', secret: 'a secret' } as const

function permitOf(client: Client, exchange: object, digest = 'one'): Permit {
  const own = api({ client })
  const taken = subject({ api: own, digest })
  return authorize(taken, route({ authenticate: { apis: [own] }, exchange }))
}

const keyOf = (client: Client, exchange: object): string => exchangeKey(permitOf(client, exchange))

test('bound and unbound tokens have keys of their own, and so has each key that they are bound to', () => {
  const [one, other] = [{ pem: keyPem() }, { pem: keyPem() }]
  const keys = [
    keyOf(SECRET, {}),
    keyOf({ ...SECRET, dpopKey: one }, { bound: 'dpop' }),
    keyOf({ ...SECRET, dpopKey: other }, { bound: 'dpop' }),
    keyOf({ ...SECRET, dpopKey: one }, { bound: 'dpop', key: 'context' }),
  ]
  assert.equal(new Set(keys).size, 4)
  assert.equal(keyOf({ ...SECRET, dpopKey: one }, { bound: 'dpop' }), keys[1])
  // A key that nothing is bound to decides nothing.
  assert.equal(keyOf({ ...SECRET, dpopKey: one }, {}), keys[0])
})

test('a refusal is remembered by what the token was to be bound to, too', () => {
  const refusals = [{ pem: keyPem() }, { pem: keyPem() }].map((dpopKey) =>
    refusalKey(permitOf({ ...SECRET, dpopKey }, { bound: 'dpop' })),
  )
  assert.notEqual(refusals[0], refusals[1])
})

test('what the token is to be bound to and is not there is ours to mend', () => {
  for (const bound of ['mtls', 'dpop']) {
    const own = permitOf({ ...SECRET, dpopKey: { file: '/nowhere/at/all' } }, { bound })
    assert.throws(() => exchangeKey(own), { code: 'exchange_misconfigured' })
  }
})

/** A file that is only ever whole. */
async function fileOf(
  context: TestContext,
): Promise<{ at: string; put(text: string): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'behalf-'))
  context.after(() => rm(folder, { recursive: true, force: true }))
  const at = join(folder, 'key')
  return {
    at,
    put: async (text) => {
      await writeFile(`${at}.new`, text)
      await rename(`${at}.new`, at)
    },
  }
}

interface Layers {
  readonly client: Client
  readonly exchange: (permit: Permit, instead?: string) => Promise<string>
  readonly asked: string[]
  readonly purges: ReturnType<typeof createPurges>
  readonly put: (pem: string) => Promise<void>
}

/** The layers that go by the key, around an issuer that tells what it bound its token to. */
async function layers(context: TestContext): Promise<Layers> {
  context.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const { at, put } = await fileOf(context)
  await put(keyPem())
  const client: Client = { ...SECRET, dpopKey: { file: at } }
  const asked: string[] = []
  const bounds = { maxEntries: 100, maxBytes: 1_000_000 }
  const store = createMemoryStore<Kept>(bounds)
  const replaced = createMemoryStore<Replaced>(bounds)
  const purges = createPurges()
  const issuer = kept(
    async (permit) => {
      asked.push(thumbprintOf(permit))
      return issuedToken({ scheme: 'DPoP', value: `${asked.length} of ${asked.at(-1)}` })
    },
    store,
    purges,
  )
  const refusals = createMemoryStore<GatewayError>({ maxEntries: 10, maxBytes: 100_000 })
  const again = replacing(joined(issuer, purges), {
    store,
    replaced,
    refusals,
    purges,
    rateOf: () => undefined,
  })
  const all = cached(again, store, purges)
  return {
    client,
    asked,
    purges,
    put: async (pem) => {
      await put(pem)
      await dpopKeyOf(client).fresh()
    },
    exchange: async (permit, instead) => {
      const own = instead === undefined ? {} : { instead: issuedToken({ value: instead }) }
      return (await all(permit, ask(own))).value
    },
  }
}

test('bound tokens are kept, joined, purged and replaced like any other', async (context) => {
  const { client, exchange, asked, purges } = await layers(context)
  const own = permitOf(client, { bound: 'dpop' })
  const [first] = new Set(await Promise.all(Array.from({ length: 20 }, () => exchange(own))))
  assert.ok(first !== undefined)
  assert.equal(await exchange(own), first)
  assert.equal(asked.length, 1)
  const second = await exchange(own, first)
  assert.notEqual(second, first)
  assert.equal(await exchange(own), second)
  purges.purge({ subject: own.subject.subject })
  assert.notEqual(await exchange(own), second)
  assert.equal(asked.length, 3)
})

test('a replaced key is a miss and no failure, and no token of the old one is used again', async (context) => {
  const { client, exchange, asked, put } = await layers(context)
  const own = permitOf(client, { bound: 'dpop' })
  const first = await exchange(own)
  assert.equal(await exchange(own), first)
  await put(keyPem())
  const second = await exchange(own)
  assert.notEqual(second, first)
  assert.equal(await exchange(own), second)
  assert.equal(new Set(asked).size, 2)
})

test('a replaced certificate is a miss as well', { skip: NO_OPENSSL }, async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const authority = createAuthority()
  const [certificate, key] = [await fileOf(context), await fileOf(context)]
  const put = async (pair: { certificate: string; key: string }): Promise<void> => {
    await certificate.put(pair.certificate)
    await key.put(pair.key)
  }
  await put(authority.issue('first'))
  const own = permitOf(
    { ...SECRET, certificate: { file: certificate.at }, key: { file: key.at } },
    { bound: 'mtls' },
  )
  const first = exchangeKey(own)
  assert.equal(exchangeKey(own), first)
  await put(authority.issue('second'))
  context.mock.timers.tick(1_000)
  for (let turn = 0; turn < 100_000 && exchangeKey(own) === first; turn++) await settled()
  assert.notEqual(exchangeKey(own), first)
})

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  createAuthenticate,
  type Authenticate,
  type Remembered,
} from '../../src/authenticate/authenticate.ts'
import { createKeys } from '../../src/authenticate/keys.ts'
import { createMetadata } from '../../src/authenticate/metadata.ts'
import { nameOfAll, select } from '../../src/authenticate/select.ts'
import { createVerifier } from '../../src/authenticate/verify.ts'
import type { Api, Route } from '../../src/config/config.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { api, issuer, presented, route, unsignedJwt } from '../support.ts'
import { claimsOf, outboundOf, pair, serveDocuments, signed, type Pair } from './issuer.ts'

const REFUSED = { code: 'invalid_token', status: 401 }
const one = issuer({ name: 'one', identifiers: ['https://one.example/', 'https://login.one/'] })
const two = issuer({ name: 'two', identifiers: ['https://two.example/'] })
const shop = api({ name: 'shop', issuer: one, audience: 'shop' })
const office = api({ name: 'office', issuer: one, audience: 'office' })
const abroad = api({ name: 'abroad', issuer: two, audience: 'shop' })
const all = [shop, office, abroad]

for (const [claims, expected] of [
  [{ iss: 'https://one.example/', aud: 'shop' }, shop],
  [{ iss: 'https://login.one/', aud: 'shop' }, shop],
  [{ iss: 'https://one.example/', aud: ['office', 'https://one.example/userinfo'] }, office],
  [{ iss: 'https://two.example/', aud: 'shop' }, abroad],
] as const) {
  test(`a token with ${JSON.stringify(claims)} is for ${expected.name} alone`, () => {
    assert.equal(select(unsignedJwt(claims), all), expected)
  })
}

for (const [claims, why] of [
  [{ iss: 'https://one.example/', aud: ['shop', 'office'] }, /more than one API/],
  [{ iss: 'https://two.example/', aud: 'office' }, /"aud" claim names no API/],
  [{ iss: 'https://one.example', aud: 'shop' }, /"iss" claim is not an issuer/],
  [{ iss: ['https://one.example/'], aud: 'shop' }, /"iss" claim is not an issuer/],
  [{ iss: 'https://one.example/', aud: 'sho' }, /"aud" claim names no API/],
  [{ iss: 'https://one.example/', aud: { 0: 'shop' } }, /"aud" claim names no API/],
  [{ iss: 'https://one.example/' }, /"aud" claim names no API/],
  [{ aud: 'shop' }, /"iss" claim is not an issuer/],
] as const) {
  test(`a token with ${JSON.stringify(claims)} is for none of them`, () => {
    assert.throws(() => select(unsignedJwt(claims), all), { ...REFUSED, message: why })
  })
}

test('where there is a single API nothing of the token is read to find it', () => {
  assert.equal(select(unsignedJwt({ iss: 'anybody', aud: 'anything' }), [shop]), shop)
})

test('routes that take the same APIs share what is remembered, and no others do', () => {
  assert.equal(nameOfAll([shop]), 'shop')
  assert.equal(nameOfAll([shop, office]), nameOfAll([office, shop]))
  const names = [[shop], [office], [shop, office], [shop, abroad], all].map(nameOfAll)
  assert.equal(new Set(names).size, names.length)
})

interface Setting {
  readonly take: (token: string, route?: Route) => Promise<Api>
  readonly token: (of: Api, claims?: object) => Promise<string>
  readonly lookUps: () => number
  readonly apis: Readonly<Record<'first' | 'second' | 'shared', Api>>
  readonly keys: { readonly first: Pair; readonly second: Pair }
}

const SECRET = 'the secret that the API with a secret has'

/** Two issuers with keys of their own, and at the second an API with a secret. */
async function setting(t: TestContext): Promise<Setting> {
  const keys = { first: pair('ES256', 'first'), second: pair('EdDSA', 'second') }
  const served = await serveDocuments(t)
  served.documents.set('/first', { keys: [keys.first.publicKey] })
  served.documents.set('/second', { keys: [keys.second.publicKey] })
  const [near, far] = ['first', 'second'].map((name) =>
    issuer({
      name,
      identifiers: [`https://${name}.example/`],
      jwksUri: `${served.origin}/${name}`,
      tokenEndpoint: `${served.origin}/token`,
    }),
  )
  const apis = {
    first: api({
      ...{ name: 'first', issuer: near!, audience: 'first' },
      verification: { kind: 'jwks', algorithms: ['ES256'] },
    }),
    second: api({
      ...{ name: 'second', issuer: far!, audience: 'second' },
      verification: { kind: 'jwks', algorithms: ['EdDSA'] },
    }),
    shared: api({
      ...{ name: 'shared', issuer: far!, audience: 'shared' },
      verification: { kind: 'secret', secrets: [SECRET] },
    }),
  } as const
  const { authenticate, lookUps } = stage(t, Object.values(apis))
  const anyOfThem = route({ authenticate: { apis: Object.values(apis) } })
  return {
    take: async (token, of = anyOfThem) => (await authenticate(presented(token), of)).api,
    token: (of, claims = {}) => {
      const said = { ...claimsOf(of.issuer.identifiers[0]!), aud: of.audience, ...claims }
      if (of === apis.shared) return signed(said, { alg: 'HS256' }, SECRET)
      return of === apis.first
        ? signed(said, { alg: 'ES256', kid: 'first' }, keys.first.privateKey)
        : signed(said, { alg: 'EdDSA', kid: 'second' }, keys.second.privateKey)
    },
    lookUps,
    apis,
    keys,
  }
}

function stage(
  t: TestContext,
  apis: readonly Api[],
): { readonly authenticate: Authenticate; readonly lookUps: () => number } {
  const outbound = outboundOf(t)
  const verifiers = new Map(
    apis.map((one) => {
      const metadata = createMetadata(one.issuer, outbound)
      return [
        one,
        createVerifier(one, (identifier) =>
          createKeys(identifier, { metadata, outbound, staleForMs: 3_600_000 }),
        ),
      ]
    }),
  )
  const store = createMemoryStore<Remembered>({ maxEntries: 100, maxBytes: 1_048_576 })
  let lookUps = 0
  const verified = {
    ...store,
    get(key: string) {
      lookUps++
      return store.get(key)
    },
  }
  return { authenticate: createAuthenticate({ verifiers, verified }), lookUps: () => lookUps }
}

test('each token is verified as one of the API that it is for, by its keys and algorithms', async (t) => {
  const { take, token, apis } = await setting(t)
  for (const of of Object.values(apis)) assert.equal(await take(await token(of)), of)
})

test('a token that names one API is not tried with the keys of another', async (t) => {
  const { take, apis, token, keys } = await setting(t)
  const { first, second, shared } = apis
  const said = (of: Api): Record<string, unknown> => ({
    ...claimsOf(of.issuer.identifiers[0]!),
    aud: of.audience,
  })
  const forged = [
    await signed(said(second), { alg: 'ES256', kid: 'first' }, keys.first.privateKey),
    await signed(said(first), { alg: 'EdDSA', kid: 'second' }, keys.second.privateKey),
    // Of one issuer even, but the one has a secret where the other has keys.
    await signed(said(second), { alg: 'HS256' }, SECRET),
    await signed(said(shared), { alg: 'EdDSA', kid: 'second' }, keys.second.privateKey),
  ]
  for (const token of forged) await assert.rejects(take(token), REFUSED)
  assert.equal(await take(await token(second)), second)
})

test('a token that is for two APIs of a route is refused there, and taken where one of them is asked for', async (t) => {
  const { take, token, apis } = await setting(t)
  const both = await token(apis.second, { aud: ['second', 'shared'] })
  const lone = route({ authenticate: { apis: [apis.second] } })
  await assert.rejects(take(both), { ...REFUSED, message: /more than one API/ })
  assert.equal(await take(both, lone), apis.second)
  // Nor does it help to have been there before.
  await assert.rejects(take(both), REFUSED)
})

test('a token that an API of one route took is refused where that API is not asked for', async (t) => {
  const { take, token, apis } = await setting(t)
  const { first, second, shared } = apis
  const of = await token(first)
  assert.equal(await take(of), first)
  const others = route({ authenticate: { apis: [second, shared] } })
  await assert.rejects(take(of, others), REFUSED)
})

test('a remembered token costs one look-up, however many APIs a route has', async (t) => {
  const { take, token, apis, lookUps } = await setting(t)
  const of = await token(apis.second)
  await take(of)
  const before = lookUps()
  assert.equal(await take(of), apis.second)
  assert.equal(lookUps() - before, 1)
})

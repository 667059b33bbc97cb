import assert from 'node:assert/strict'
import { test } from 'node:test'
import { partiesOf } from '../../src/authenticate/parties.ts'
import type { ProfileName } from '../../src/config/config.ts'
import { api, issuer } from '../support.ts'

function parties(profile: ProfileName, claims: object): ReturnType<typeof partiesOf> {
  return partiesOf(claims as Record<string, unknown>, api({ issuer: issuer({ profile }) }))
}

/** As Auth0's documentation shows each dialect. */
const DIALECTS: readonly (readonly [string, object, 'user' | 'client'])[] = [
  ['access_token', { sub: 'auth0|alice', azp: 'spa', scope: 'read:orders' }, 'user'],
  ['access_token', { sub: 'auth0|alice', azp: 'spa', gty: 'password' }, 'user'],
  ['access_token', { sub: 'auth0|alice', azp: 'spa', gty: 'refresh_token' }, 'user'],
  ['access_token', { sub: 'm2m@clients', azp: 'm2m', gty: 'client-credentials' }, 'client'],
  ['access_token_authz', { sub: 'auth0|alice', azp: 'spa', permissions: ['p'] }, 'user'],
  ['access_token_authz', { sub: 'm2m@clients', azp: 'm2m', permissions: ['p'] }, 'client'],
  ['rfc9068_profile', { sub: 'auth0|alice', client_id: 'spa', jti: 'x' }, 'user'],
  ['rfc9068_profile', { sub: 'm2m@clients', client_id: 'm2m', jti: 'x' }, 'client'],
  ['rfc9068_profile', { sub: 'm2m', client_id: 'm2m', jti: 'x' }, 'client'],
  ['rfc9068_profile_authz', { sub: 'auth0|alice', client_id: 'spa', permissions: [] }, 'user'],
  ['rfc9068_profile_authz', { sub: 'm2m@clients', client_id: 'm2m', permissions: [] }, 'client'],
]

for (const profile of ['auth0', 'auth0-legacy'] as const) {
  for (const [dialect, claims, kind] of DIALECTS) {
    test(`profile ${profile}, dialect ${dialect}: ${JSON.stringify(claims)} is a ${kind}'s`, () => {
      const found = parties(profile, claims)
      assert.equal(found.kind, kind)
      const { azp, client_id: id } = claims as { azp?: string; client_id?: string }
      assert.equal(found.client, azp ?? id)
    })
  }
}

test("an Auth0 user who is called like somebody else's client is neither user nor client", () => {
  const claims = { sub: 'm2m@clients', azp: 'spa' }
  assert.equal(parties('auth0', claims).kind, 'unknown')
  assert.equal(parties('auth0', { ...claims, sub: 'auth0|m2m' }).kind, 'user')
})

for (const [profile, claims, kind] of [
  ['rfc8693', { sub: 'alice', client_id: 'spa' }, 'user'],
  ['rfc8693', { sub: 'alice', azp: 'spa' }, 'user'],
  ['rfc8693', { sub: 'job', client_id: 'job' }, 'client'],
  ['rfc8693', { sub: 'alice' }, 'unknown'],
  ['keycloak', { sub: 'f1', azp: 'spa', preferred_username: 'alice' }, 'user'],
  [
    'keycloak',
    { sub: 'f2', azp: 'Job', client_id: 'Job', preferred_username: 'service-account-job' },
    'client',
  ],
  ['keycloak', { sub: 'f3', azp: 'job', preferred_username: 'service-account-job' }, 'unknown'],
  [
    'keycloak',
    { sub: 'f4', azp: 'spa', client_id: 'spa', preferred_username: 'service-account-job' },
    'unknown',
  ],
  ['keycloak', { sub: 'f5', azp: 'spa', client_id: 'spa', preferred_username: 'a' }, 'unknown'],
  ['keycloak', { sub: 'f6', azp: 'spa' }, 'unknown'],
  ['entra', { sub: 'pairwise', oid: 'o1', azp: 'spa', scp: 'orders.read' }, 'user'],
  ['entra', { sub: 'o2', oid: 'o2', azp: 'job', roles: ['r'] }, 'client'],
  ['entra', { sub: 's', oid: 'o3', azp: 'job', idtyp: 'app' }, 'client'],
  ['entra', { sub: 's', oid: 'o3', azp: 'job', idtyp: 'app', scp: 'x' }, 'unknown'],
  ['entra', { sub: 's', oid: 'o3', azp: 'job' }, 'unknown'],
  ['okta', { sub: 'alice@shop.example', uid: '00u1', cid: 'spa' }, 'user'],
  ['okta', { sub: 'job', cid: 'job' }, 'client'],
  ['okta', { sub: 'job', uid: '00u1', cid: 'job' }, 'unknown'],
  ['okta', { sub: 'alice@shop.example', cid: 'spa' }, 'unknown'],
  ['zitadel', { sub: '1', client_id: 'spa' }, 'unknown'],
] as const) {
  test(`profile ${profile}: ${JSON.stringify(claims)} is ${kind}`, () => {
    assert.equal(parties(profile, claims).kind, kind)
  })
}

for (const [profile, claims, client] of [
  ['rfc8693', { azp: 'spa', client_id: 'spa' }, 'spa'],
  ['rfc8693', { azp: 'spa', client_id: 'other' }, undefined],
  ['rfc8693', { azp: 'spa', client_id: 7 }, undefined],
  ['rfc8693', { azp: '' }, undefined],
  ['rfc8693', { appid: 'spa', cid: 'spa' }, undefined],
  ['entra', { appid: 'one' }, 'one'],
  ['entra', { azp: 'two' }, 'two'],
  ['okta', { cid: 'three', azp: 'other' }, 'three'],
] as const) {
  test(`profile ${profile}: ${JSON.stringify(claims)} was issued to ${client ?? 'nobody in particular'}`, () => {
    assert.equal(parties(profile, { sub: 'alice', ...claims }).client, client)
  })
}

test('of a chain of actors the outermost is the one who acts, and all are counted', () => {
  const act = {
    sub: 'now',
    iss: 'https://a.example',
    act: { sub: 'before', act: { sub: 'first' } },
  }
  const { actor, actors } = parties('rfc8693', { sub: 'alice', act })
  assert.deepEqual(actor, { subject: 'now', issuer: 'https://a.example' })
  assert.equal(actors, 3)
  assert.deepEqual(parties('rfc8693', { sub: 'alice' }).actor, undefined)
  assert.equal(parties('rfc8693', { sub: 'alice' }).actors, 0)
})

test('a chain of actors that is no chain of objects is refused (RFC 8693, section 4.1)', () => {
  for (const act of ['spa', null, 7, ['spa'], { sub: 'a', act: 'b' }, { act: { act: [] } }]) {
    assert.throws(() => parties('rfc8693', { sub: 'alice', act }), { code: 'invalid_token' })
  }
  assert.equal(parties('rfc8693', { sub: 'alice', act: {} }).actor?.subject, undefined)
})

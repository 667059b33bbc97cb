import assert from 'node:assert/strict'
import test from 'node:test'
import { PROFILES, type Refusal } from '../../src/exchange/profiles.ts'

// RFC 6749, section 5.2, what RFC 8693 adds in 2.2.2, and what Auth0 says beside; absent: the issuer's decision.
const OURS = {
  invalid_client: 'exchange_misconfigured',
  unauthorized_client: 'exchange_misconfigured',
  unsupported_grant_type: 'exchange_misconfigured',
  invalid_dpop_proof: 'exchange_misconfigured',
  use_dpop_nonce: 'exchange_unavailable',
} as const
const AUTH0 = {
  ...OURS,
  access_denied: 'exchange_denied',
  consent_required: 'exchange_denied',
  invalid_grant: 'invalid_token',
  invalid_token: 'invalid_token',
  invalid_request: 'exchange_denied',
  mfa_required: 'insufficient_user_authentication',
} as const
const RFC8693 = {
  ...OURS,
  invalid_grant: 'invalid_token',
  invalid_request: 'invalid_token',
  temporarily_unavailable: 'exchange_unavailable',
} as const
const EXPECTED: Readonly<Record<keyof typeof PROFILES, Readonly<Record<string, Refusal>>>> = {
  auth0: AUTH0,
  'auth0-legacy': AUTH0,
  rfc8693: RFC8693,
  keycloak: RFC8693,
  entra: {
    ...OURS,
    invalid_grant: 'invalid_token',
    interaction_required: 'insufficient_user_authentication',
    consent_required: 'exchange_denied',
    invalid_request: 'exchange_misconfigured',
    invalid_resource: 'exchange_misconfigured',
    temporarily_unavailable: 'exchange_unavailable',
  },
  okta: RFC8693,
  zitadel: RFC8693,
}

test('every profile says what each refusal means, and nothing else', () => {
  assert.deepEqual(Object.keys(PROFILES).sort(), Object.keys(EXPECTED).sort())
  for (const [name, { refusals }] of Object.entries(PROFILES)) {
    assert.deepEqual(refusals, EXPECTED[name as keyof typeof PROFILES], name)
  }
})

test('more scope than was asked for is taken only from those that add scopes of their own', () => {
  const lenient = Object.entries(PROFILES).filter(([, one]) => one.extraScopes === 'allow')
  assert.deepEqual(
    lenient.map(([name]) => name),
    ['keycloak', 'entra', 'okta'],
  )
})

test('every profile compares users', () => {
  for (const { sameUser } of Object.values(PROFILES)) assert.ok(sameUser.length > 0)
})

test('no profile takes a claim out of the context that tells users or their rights apart', () => {
  const telling = [
    'iss',
    'oid',
    'tid',
    'sub',
    'aud',
    'scope',
    'scp',
    'sid',
    'azp',
    'client_id',
    'acr',
    'cnf',
    'act',
  ]
  for (const { volatileClaims } of Object.values(PROFILES)) {
    assert.deepEqual(
      volatileClaims.filter((name) => telling.includes(name)),
      [],
    )
  }
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { PROFILES, type Refusal } from '../../src/exchange/profiles.ts'

// RFC 6749, section 5.2, what RFC 8693 adds in 2.2.2, and what Auth0 says beside; absent: the issuer's decision.
const EXPECTED: Readonly<Record<keyof typeof PROFILES, Readonly<Record<string, Refusal>>>> = {
  auth0: {
    invalid_client: 'exchange_misconfigured',
    unauthorized_client: 'exchange_misconfigured',
    unsupported_grant_type: 'exchange_misconfigured',
    invalid_grant: 'invalid_token',
    invalid_token: 'invalid_token',
    invalid_request: 'exchange_denied',
    mfa_required: 'insufficient_user_authentication',
  },
  rfc8693: {
    invalid_client: 'exchange_misconfigured',
    unauthorized_client: 'exchange_misconfigured',
    unsupported_grant_type: 'exchange_misconfigured',
    invalid_grant: 'invalid_token',
    invalid_request: 'invalid_token',
    temporarily_unavailable: 'exchange_unavailable',
  },
}

test('every profile says what each refusal means, and nothing else', () => {
  assert.deepEqual(Object.keys(PROFILES).sort(), Object.keys(EXPECTED).sort())
  for (const [name, { refusals }] of Object.entries(PROFILES)) {
    assert.deepEqual(refusals, EXPECTED[name as keyof typeof PROFILES], name)
  }
})

test('every profile asks for an access token and refuses more scope than it asked for', () => {
  for (const { requestedTokenType, extraScopes } of Object.values(PROFILES)) {
    assert.equal(requestedTokenType, 'urn:ietf:params:oauth:token-type:access_token')
    assert.equal(extraScopes, 'refuse')
  }
})

test('no profile takes a claim out of the context that tells users or their rights apart', () => {
  const telling = [
    'iss',
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

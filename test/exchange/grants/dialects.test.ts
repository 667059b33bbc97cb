/** A complete exchange with each kind of issuer, in the formats that its vendor documents. */
import assert from 'node:assert/strict'
import test from 'node:test'
import type { ProfileName } from '../../../src/config/config.ts'
import type { ErrorCode } from '../../../src/errors.ts'
import { ask, unsignedJwt } from '../../support.ts'
import { issuerThat, permitAt } from './issuer.ts'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const JWT = 'urn:ietf:params:oauth:token-type:jwt'
const CREDENTIALS = { client_id: 'gateway', client_secret: 'secret' }
const SUBJECT = { subject_token: 'the.subject.token', subject_token_type: ACCESS_TOKEN }

interface Dialect {
  readonly profile: ProfileName
  readonly identifiers?: readonly string[]
  /** The subject token's, beside `iss` and `sub`. */
  readonly claims?: Readonly<Record<string, unknown>>
  readonly exchange: object
  /** A list stands for a field that is repeated. */
  readonly form: Readonly<Record<string, string | readonly string[]>>
  /** The issued token's claims, and the rest of the answer. */
  readonly issued: Readonly<Record<string, unknown>>
  readonly answer: Readonly<Record<string, unknown>>
  readonly scopes: readonly string[]
  /** Status, error, and what else the body holds: what becomes of it. */
  readonly refusals: readonly (readonly [number, object, ErrorCode])[]
}

const ENTRA = 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0'
const ENTRA_V1 = 'https://sts.windows.net/11111111-2222-3333-4444-555555555555/'
const KEYCLOAK = 'https://keycloak.example/realms/shop'
const OKTA = 'https://shop.okta.com/oauth2/default'
const ZITADEL = 'https://shop.zitadel.cloud'
const TENANT = 'https://tenant.eu.auth0.com/'

const COMMON_REFUSALS = [
  [401, { error: 'invalid_client' }, 'exchange_misconfigured'],
  [400, { error: 'unauthorized_client' }, 'exchange_misconfigured'],
  [400, { error: 'unsupported_grant_type' }, 'exchange_misconfigured'],
  [400, { error: 'invalid_scope' }, 'exchange_denied'],
  [400, { error: 'invalid_target' }, 'exchange_denied'],
  [429, { error: 'too_many_requests' }, 'exchange_unavailable'],
  [503, { error: 'temporarily_unavailable' }, 'exchange_unavailable'],
] as const

const AUTH0_REFUSALS = [
  ...COMMON_REFUSALS,
  [401, { error: 'invalid_token' }, 'invalid_token'],
  [401, { error: 'unnamed' }, 'invalid_token'],
  [400, { error: 'invalid_grant' }, 'invalid_token'],
  [403, { error: 'access_denied' }, 'exchange_denied'],
  [403, { error: 'consent_required' }, 'exchange_denied'],
  [400, { error: 'invalid_request' }, 'exchange_denied'],
  [401, { error: 'mfa_required', mfa_token: 'x' }, 'insufficient_user_authentication'],
  [403, { error: 'mfa_required', mfa_token: 'x' }, 'insufficient_user_authentication'],
] as const

const DIALECTS: readonly Dialect[] = [
  {
    profile: 'auth0',
    identifiers: [TENANT],
    exchange: { audience: 'https://orders.internal', scopes: ['read:orders'] },
    form: {
      ...{ grant_type: EXCHANGE, ...SUBJECT, ...CREDENTIALS },
      requested_token_type: ACCESS_TOKEN,
      audience: 'https://orders.internal',
      scope: 'read:orders',
    },
    issued: {
      iss: TENANT,
      sub: 'alice',
      aud: 'https://orders.internal',
      azp: 'gateway',
      scope: 'read:orders',
      act: { sub: 'gateway', act: { sub: 'spa' } },
    },
    answer: { expires_in: 86_400, token_type: 'Bearer', issued_token_type: ACCESS_TOKEN },
    scopes: ['read:orders'],
    refusals: AUTH0_REFUSALS,
  },
  {
    profile: 'auth0-legacy',
    identifiers: [TENANT],
    exchange: { audience: 'urn:target', scopes: ['read', 'openid', 'offline_access'] },
    form: {
      ...{ grant_type: EXCHANGE, ...SUBJECT, ...CREDENTIALS },
      audience: 'urn:target',
      scope: 'read openid offline_access',
    },
    issued: { iss: TENANT, sub: 'alice', aud: ['urn:target', `${TENANT}userinfo`], scope: 'read' },
    answer: {
      expires_in: 86_400,
      token_type: 'Bearer',
      refresh_token: 'for-nobody',
      id_token: 'not.an.id-token',
      scope: 'read offline_access',
    },
    scopes: ['read', 'offline_access'],
    refusals: AUTH0_REFUSALS,
  },
  {
    profile: 'rfc8693',
    exchange: {
      audience: ['one', 'two'],
      resource: ['https://one.example', 'urn:two'],
      scopes: ['read', 'write'],
    },
    form: {
      ...{ grant_type: EXCHANGE, ...SUBJECT, ...CREDENTIALS },
      requested_token_type: ACCESS_TOKEN,
      audience: ['one', 'two'],
      resource: ['https://one.example', 'urn:two'],
      scope: 'read write',
    },
    issued: { iss: 'https://issuer.example/', sub: 'alice', aud: ['two', 'one'], scope: 'read' },
    answer: { expires_in: 60, token_type: 'Bearer', issued_token_type: ACCESS_TOKEN },
    scopes: ['read'],
    refusals: [
      ...COMMON_REFUSALS,
      [400, { error: 'invalid_request' }, 'invalid_token'],
      [400, { error: 'invalid_grant' }, 'invalid_token'],
      [400, { error: 'temporarily_unavailable' }, 'exchange_unavailable'],
    ],
  },
  {
    profile: 'keycloak',
    identifiers: [KEYCLOAK],
    exchange: { audience: ['orders', 'stock'], scopes: ['orders-read'] },
    form: {
      ...{ grant_type: EXCHANGE, ...SUBJECT, ...CREDENTIALS },
      requested_token_type: ACCESS_TOKEN,
      audience: ['orders', 'stock'],
      scope: 'orders-read',
    },
    issued: {
      iss: KEYCLOAK,
      sub: 'alice',
      aud: ['orders', 'stock'],
      azp: 'gateway',
      typ: 'Bearer',
    },
    answer: {
      expires_in: 300,
      refresh_expires_in: 0,
      token_type: 'Bearer',
      'not-before-policy': 0,
      session_state: '287f3c57-32b8-4c0f-8b00-8c7db231d701',
      scope: 'email orders-read profile',
      issued_token_type: ACCESS_TOKEN,
    },
    scopes: ['email', 'orders-read', 'profile'],
    refusals: [
      ...COMMON_REFUSALS,
      [400, { error: 'invalid_request', error_description: 'Invalid token' }, 'invalid_token'],
      [
        403,
        {
          error: 'access_denied',
          error_description: 'Client is not within the token audience',
        },
        'exchange_denied',
      ],
      [
        400,
        { error: 'invalid_client', error_description: 'Audience not found' },
        'exchange_misconfigured',
      ],
    ],
  },
  {
    profile: 'entra',
    identifiers: [ENTRA, ENTRA_V1],
    claims: { oid: 'the-user', tid: 'the-tenant', sub: 'of-the-gateway' },
    exchange: {
      grant: 'jwt-bearer',
      scopes: ['api://orders/.default'],
      expectAudience: 'api://orders',
    },
    form: {
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      ...CREDENTIALS,
      assertion: 'the.subject.token',
      requested_token_use: 'on_behalf_of',
      scope: 'api://orders/.default',
    },
    issued: {
      iss: ENTRA_V1,
      aud: 'api://orders',
      sub: 'of-the-orders',
      oid: 'the-user',
      tid: 'the-tenant',
      scp: 'Orders.Read',
      ver: '1.0',
    },
    answer: {
      token_type: 'Bearer',
      scope: 'api://orders/Orders.Read',
      expires_in: 3_269,
      ext_expires_in: 3_269,
      refresh_token: 'for-nobody',
    },
    scopes: ['api://orders/Orders.Read', 'Orders.Read'],
    refusals: [
      ...COMMON_REFUSALS,
      [400, { error: 'invalid_grant', error_codes: [500_131] }, 'invalid_token'],
      [400, { error: 'invalid_grant', suberror: 'consent_required' }, 'exchange_denied'],
      [400, { error: 'invalid_grant', suberror: 'token_expired' }, 'invalid_token'],
      [
        400,
        { error: 'interaction_required', claims: '{}', suberror: 'basic_action' },
        'insufficient_user_authentication',
      ],
      [400, { error: 'consent_required' }, 'exchange_denied'],
      [400, { error: 'invalid_request' }, 'exchange_misconfigured'],
    ],
  },
  {
    profile: 'okta',
    identifiers: [OKTA],
    exchange: { audience: 'api2', scopes: ['api:access:read'] },
    form: {
      ...{ grant_type: EXCHANGE, ...SUBJECT, ...CREDENTIALS },
      audience: 'api2',
      scope: 'api:access:read',
    },
    issued: {
      ...{ iss: OKTA, aud: 'api2', sub: 'alice', cid: 'gateway', uid: '00u1' },
      scp: ['api:access:read', 'api:default'],
    },
    answer: {
      token_type: 'Bearer',
      expires_in: 3_600,
      scope: 'api:access:read api:default',
      issued_token_type: ACCESS_TOKEN,
    },
    scopes: ['api:access:read', 'api:default'],
    refusals: [
      ...COMMON_REFUSALS,
      [400, { error: 'invalid_grant' }, 'invalid_token'],
      [400, { error: 'access_denied' }, 'exchange_denied'],
    ],
  },
  {
    profile: 'zitadel',
    identifiers: [ZITADEL],
    exchange: { audience: '258@shop', scopes: ['openid'] },
    form: {
      ...{ grant_type: EXCHANGE, ...SUBJECT, ...CREDENTIALS },
      requested_token_type: JWT,
      audience: '258@shop',
      scope: 'openid',
    },
    issued: { iss: ZITADEL, sub: 'alice', aud: ['258@shop', '257'] },
    answer: { issued_token_type: JWT, token_type: 'Bearer', expires_in: 43_199, scope: 'openid' },
    scopes: ['openid'],
    refusals: [...COMMON_REFUSALS, [400, { error: 'invalid_request' }, 'invalid_token']],
  },
]

function pairs(form: Dialect['form']): readonly (readonly [string, string])[] {
  return Object.entries(form)
    .flatMap(([name, value]) => [value].flat().map((one) => [name, one as string] as const))
    .sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
}

for (const dialect of DIALECTS) {
  const { profile, form, issued, answer, scopes, refusals } = dialect

  test(`${profile}: the form is the documented one, and the documented answer is taken`, async (context) => {
    const body = { access_token: unsignedJwt(issued), ...answer }
    const { exchange, asked } = await issuerThat(context, () => ({ body }))
    const token = await exchange(permitAt(dialect), ask())
    assert.deepEqual(asked, [{ authorization: undefined, form: pairs(form) }])
    assert.deepEqual([token.value, token.scopes], [body.access_token, scopes])
  })

  for (const [name, wrong] of [
    ['iss', 'https://another.example'],
    ['aud', 'another'],
    profile === 'entra' ? ['oid', 'bob'] : ['sub', 'bob'],
    profile === 'entra' ? ['tid', 'another'] : ['sub', undefined],
  ] as readonly (readonly [string, string | undefined])[]) {
    test(`${profile}: a token with ${name} ${wrong} is never forwarded`, async (context) => {
      const claims = { ...issued, [name]: wrong }
      const body = { access_token: unsignedJwt(claims), ...answer }
      const { exchange } = await issuerThat(context, () => ({ body }))
      await assert.rejects(async () => exchange(permitAt(dialect), ask()), {
        code: 'exchange_misconfigured',
      })
    })
  }

  for (const issued_token_type of ['urn:ietf:params:oauth:token-type:id_token', null]) {
    const isMissing = issued_token_type === null
    const isTaken = isMissing && (profile === 'entra' || profile === 'auth0-legacy')
    const what = isMissing ? 'no issued_token_type' : 'an ID token'
    test(`${profile}: ${what} is ${isTaken ? 'taken' : 'refused'}`, async (context) => {
      const body = { access_token: unsignedJwt(issued), ...answer, issued_token_type }
      const { exchange } = await issuerThat(context, () => ({ body }))
      const outcome = await Promise.resolve(exchange(permitAt(dialect), ask())).then(
        () => 'taken',
        (error: { code?: string }) => error.code,
      )
      assert.equal(outcome, isTaken ? 'taken' : 'exchange_misconfigured')
    })
  }

  for (const [status, body, code] of refusals) {
    test(`${profile}: ${status} ${JSON.stringify(body)} is ${code}`, async (context) => {
      const { exchange } = await issuerThat(context, () => ({ status, body }))
      await assert.rejects(async () => exchange(permitAt(dialect), ask()), { code })
    })
  }
}

test('entra: a subject token without `oid` is not taken for one with none', async (context) => {
  const dialect = DIALECTS.find(({ profile }) => profile === 'entra')!
  const { oid: _, ...nameless } = dialect.issued
  const body = { access_token: unsignedJwt(nameless), ...dialect.answer }
  const { exchange } = await issuerThat(context, () => ({ body }))
  const claims = { ...dialect.claims, oid: undefined }
  await assert.rejects(async () => exchange(permitAt({ ...dialect, claims }), ask()), {
    code: 'exchange_misconfigured',
  })
})

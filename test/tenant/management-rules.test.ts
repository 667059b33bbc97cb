import assert from 'node:assert/strict'
import { test } from 'node:test'
import { skip } from '../vectors/folder.ts'
import { startTenant, ORDERS, STOREFRONT } from './ask.ts'
import { call, called, requestSchema, type Json } from './management.ts'

/** Values of which each field of each object takes some, and refuses others. */
const VALUES: readonly unknown[] = [
  null,
  true,
  '',
  'x',
  '<b>',
  'x'.repeat(201),
  'x'.repeat(701),
  0,
  -1,
  1.5,
  60,
  2_592_001,
  [],
  [''],
  ['x'.repeat(300)],
  [1],
  [{}],
  [{ value: '' }],
  [{ value: 'read', description: 1 }],
  [{ value: 'read', more: 1 }],
  {},
  { more: 1 },
  { policy: 'allow_all' },
  { policy_id: 'one' },
  { policy_id: '' },
  { user: { policy: 'x' } },
  { user: { policy: 'deny_all' } },
  { client: { policy: 'allow_all' } },
  { mechanism: 'dpop' },
  { mechanism: 'dpop', required: true },
  { mechanism: 'dpop', required: true, required_for: 'x' },
  { format: 'compact-nested-jwe' },
  { allow_any_profile_of_type: ['x'] },
  { allow_any_profile_of_type: ['on_behalf_of_token_exchange'] },
  { rotation_type: 'rotating' },
  { rotation_type: 'rotating', expiration_type: 'expiring' },
  { rotation_type: 'rotating', expiration_type: 'expiring', leeway: -1 },
  { rotation_type: 'rotating', expiration_type: 'expiring', token_lifetime: 0 },
  { rotation_type: 'rotating', expiration_type: 'expiring', policies: [] },
  { rotation_type: 'rotating', expiration_type: 'expiring', policies: [{ audience: 'x' }] },
  { private_key_jwt: { credentials: [] }, tls_client_auth: { credentials: [] } },
  { private_key_jwt: {} },
  'RS512',
  'access_token_authz',
  'none',
  'deny',
  'transactional-authorization-with-mfa',
  'client_secret_basic',
]

/** Fields of clients whose insides are kept as they come: nothing here depends on them. */
const UNJUDGED = new Set([
  'addons',
  'async_approval_notification_channels',
  'client_metadata',
  'compliance_level',
  'default_organization',
  'encryption_key',
  'express_configuration',
  'fedcm_login',
  'jwt_configuration',
  'mobile',
  'my_organization_configuration',
  'native_social_login',
  'oidc_backchannel_logout',
  'oidc_logout',
  'redirection_policy',
  'session_transfer',
  'signed_request_object',
  'third_party_security_mode',
  'token_quota',
  'token_vault_privileged_access',
])

interface Described {
  readonly kind: string
  readonly path: string
  readonly created: Json
  /** What names the object that is changed. */
  readonly name: string
}

const KINDS: readonly Described[] = [
  {
    kind: 'resource-servers',
    path: '/resource-servers/{id}',
    created: { identifier: 'https://new.example' },
    name: encodeURIComponent(STOREFRONT),
  },
  { kind: 'clients', path: '/clients/{id}', created: { name: 'new' }, name: 'spa' },
  {
    kind: 'client-grants',
    path: '/client-grants/{id}',
    created: { client_id: 'spa', audience: ORDERS },
    name: 'cgr_one',
  },
]

/** Every field that a request has by its description. */
function fieldsOf(method: string, path: string): readonly string[] {
  const { schema } = requestSchema(method, path)
  return Object.keys((schema as { properties: object }).properties)
}

for (const { kind, path, created, name } of KINDS) {
  test(
    `what the description of ${kind} refuses is refused, and little else`,
    { skip },
    async (t) => {
      const tenant = await startTenant(t)
      tenant.state.addClientGrant({ id: 'cgr_one', client_id: 'spa', audience: ORDERS, scope: [] })
      const token = await tenant.managementToken()
      let wrong = 0
      const surplus: string[] = []
      for (const [method, at, url, base] of [
        ['POST', `/${kind}`, `/${kind}`, created],
        ['PATCH', path, `/${kind}/${name}`, {}],
      ] as const) {
        const isValid = requestSchema(method, at)
        for (const field of fieldsOf(method, at).filter((one) => !UNJUDGED.has(one))) {
          for (const value of VALUES) {
            const body = { ...base, [field]: value }
            const { status, body: answer } = await call(tenant, `${method} ${url}`, { token, body })
            if (status === 400 && isValid(body))
              surplus.push(`${field}: ${String(answer['message'])}`)
            if (status === 201) await remove(answer)
            if (isValid(body)) continue
            wrong++
            assert.equal(status, 400, `${method} ${at} took ${JSON.stringify(body)}`)
          }
        }
      }
      assert.ok(wrong > 500 || kind === 'client-grants', String(wrong))
      // Each of these is a rule between fields, which the description does not have.
      assert.deepEqual(
        surplus.filter((one) => !BETWEEN.some((rule) => rule.test(one))),
        [],
      )

      async function remove(answer: Json): Promise<void> {
        const id = String(answer['client_id'] ?? answer['id'])
        const at = kind === 'client-grants' ? String(answer['id']) : id
        await called(tenant, `DELETE /${kind}/${at}`, undefined, { token })
      }
    },
  )
}

const BETWEEN = [
  /A signing_secret needs the signing_alg HS256/,
  /resource_server_identifier goes with/,
  /A client neither becomes/,
  /Exactly one of client_id and default_for/,
  /is not for grants of the subject_type/,
  /is not defined in the resource server/,
  /must be unique/,
]

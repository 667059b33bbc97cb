import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  allowInsecureRequests,
  ClientSecretBasic,
  ClientSecretPost,
  discovery,
  genericGrantRequest,
  refreshTokenGrant,
} from 'openid-client'
import {
  ask,
  BACKOFFICE,
  BACKOFFICE_CLIENT,
  ORDERS,
  passwordForm,
  startTenant,
  STOREFRONT,
  STOREFRONT_CLIENT,
} from './ask.ts'

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const INSECURE = { execute: [allowInsecureRequests] }

for (const [audience, { client_id: id, client_secret: secret }] of [
  [STOREFRONT, STOREFRONT_CLIENT],
  [BACKOFFICE, BACKOFFICE_CLIENT],
] as const) {
  for (const method of [ClientSecretPost, ClientSecretBasic]) {
    test(`openid-client discovers the tenant and exchanges as ${id} by ${method.name}`, async (t) => {
      const tenant = await startTenant(t)
      const server = new URL(tenant.url)
      const configuration = await discovery(server, id, undefined, method(secret), INSECURE)
      const exchange = async (audienceOfTarget: string) =>
        genericGrantRequest(configuration, TOKEN_EXCHANGE, {
          subject_token: await tenant.token({ user: 'alice', audience }),
          subject_token_type: ACCESS_TOKEN,
          requested_token_type: ACCESS_TOKEN,
          audience: audienceOfTarget,
          scope: 'orders:read',
        })
      const issued = await exchange(ORDERS)
      assert.deepEqual(
        [issued.token_type, issued.expires_in, issued['issued_token_type'], issued.scope],
        ['bearer', 3_600, ACCESS_TOKEN, undefined],
      )
      await assert.rejects(exchange('https://nowhere.example'), {
        status: 403,
        error: 'access_denied',
        error_description: 'Service not enabled within domain: https://nowhere.example',
      })
    })
  }
}

test('openid-client refreshes, and is told of a spent refresh token', async (t) => {
  const tenant = await startTenant(t)
  const url = new URL(tenant.url)
  const configuration = await discovery(url, 'spa', undefined, undefined, INSECURE)
  const login = await ask(tenant, passwordForm({ scope: 'read:orders offline_access' }))
  const first = String(login.body['refresh_token'])
  const refreshed = await refreshTokenGrant(configuration, first)
  assert.notEqual(refreshed.refresh_token, first)
  await assert.rejects(refreshTokenGrant(configuration, first), {
    status: 403,
    error: 'invalid_grant',
    error_description: 'Unknown or invalid refresh token.',
  })
})

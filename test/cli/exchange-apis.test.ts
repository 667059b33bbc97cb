import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { createTenant, type Tenant } from '../../src/tenant/index.ts'
import { unsignedJwt } from '../support.ts'
import { folder } from '../folder.ts'
import { type Ended } from './behalf.ts'
import { behalfAgain } from './resident.ts'
import { signingKey } from '../tenant/signing-key.ts'

const CLIENT_SECRETS = ['storefront', 'backoffice'].map(
  (name) => `demo-only-${name}-client-secret-0001`,
)
const SIGNING_SECRET = 'demo-only-backoffice-signing-secret-0001'

interface Setting {
  readonly tenant: Tenant
  readonly exchange: (token: string) => Promise<Ended>
}

/** One route for two APIs of a tenant, of which the second has a signing secret. */
async function setting(t: TestContext, authorize = '{}'): Promise<Setting> {
  const tenant = await createTenant({ signingKey })
  t.after(() => tenant.close())
  const cwd = await folder(t, {
    'behalf.yaml': `issuers:
  tenant: { issuer: "${tenant.url}", profile: auth0 }
apis:
  storefront:
    issuer: tenant
    audience: https://storefront.example
    client: { id: storefront-gateway, secret: ${CLIENT_SECRETS[0]} }
  backoffice:
    issuer: tenant
    audience: https://backoffice.example
    signingSecret: ${SIGNING_SECRET}
    client: { id: backoffice-gateway, secret: ${CLIENT_SECRETS[1]} }
routes:
  - name: orders
    match: { path: /orders }
    authenticate: { apis: [storefront, backoffice] }
    authorize: ${authorize}
    exchange: { audience: "https://orders.internal", scopes: ["orders:read"] }
    proxy: { upstream: "http://127.0.0.1:9" }
`,
  })
  return {
    tenant,
    async exchange(token) {
      const file = await folder(t, { token })
      const argv = ['exchange', 'orders', '--token-file', `${file}/token`, '--format', 'json']
      return behalfAgain(argv, { cwd })
    },
  }
}

interface Shown {
  readonly ok: boolean
  readonly subject?: { readonly audience: string }
  readonly asked: readonly object[]
  readonly refusal?: { readonly code: string; readonly detail: string }
}

for (const name of ['storefront', 'backoffice']) {
  test(`a token for ${name} is exchanged by its own API, and no secret of either is shown`, async (t) => {
    const { tenant, exchange } = await setting(t)
    const audience = `https://${name}.example`
    const token = await tenant.token({ user: 'alice', audience })
    const { code, out, err } = await exchange(token)
    assert.equal(err, '')
    const shown = JSON.parse(out) as Shown
    assert.equal(code, 0, out)
    assert.equal(shown.subject?.audience, audience)
    assert.equal(shown.asked.length, 1)
    for (const secret of [...CLIENT_SECRETS, SIGNING_SECRET, token]) {
      assert.ok(!out.includes(secret))
    }
  })
}

test('a token for neither of the APIs is refused, and says so', async (t) => {
  const { tenant, exchange } = await setting(t)
  const claims = { iss: tenant.url, sub: 'auth0|alice', aud: 'https://orders.internal' }
  const { code, out } = await exchange(unsignedJwt(claims))
  assert.equal(code, 1)
  const { refusal, asked } = JSON.parse(out) as Shown
  assert.equal(refusal?.code, 'invalid_token')
  assert.match(refusal.detail, /names no API of this route/)
  assert.deepEqual(asked, [])
})

test('what a route asks of a client is asked here, too, before anything is exchanged', async (t) => {
  const { tenant, exchange } = await setting(t, '{ clients: [app] }')
  const { code, out } = await exchange(
    await tenant.token({ user: 'alice', audience: 'https://storefront.example' }),
  )
  assert.equal(code, 1)
  const { refusal, asked } = JSON.parse(out) as Shown
  assert.equal(refusal?.code, 'not_permitted')
  assert.deepEqual(asked, [])
})

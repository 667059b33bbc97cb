import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Explanation } from '../../src/server/explain/report.ts'
import { createTenant, type Tenant } from '../../src/tenant/index.ts'
import { folder } from '../folder.ts'
import { behalf, type Ended } from './behalf.ts'
import { behalfAgain } from './resident.ts'
import { signingKey } from '../tenant/signing-key.ts'

const CLIENT_SECRET = 'demo-only-storefront-client-secret-0001'
const STOREFRONT = 'https://storefront.example'

interface Setting {
  readonly tenant: Tenant
  explain(token: string | undefined, ...argv: readonly string[]): Promise<Ended>
}

async function setting(t: TestContext): Promise<Setting> {
  const tenant = await createTenant({ signingKey })
  t.after(() => tenant.close())
  const cwd = await folder(t, {
    'behalf.yaml': `issuers:
  tenant: { issuer: "${tenant.url}", profile: auth0 }
apis:
  storefront:
    issuer: tenant
    audience: ${STOREFRONT}
    client: { id: storefront-gateway, secret: ${CLIENT_SECRET} }
routes:
  - name: orders
    match: { path: /orders, methods: [GET] }
    authenticate: { api: storefront }
    authorize: { scopes: ["read:orders"] }
    exchange: { audience: "https://orders.internal", scopes: ["orders:read"] }
    proxy: { upstream: "http://127.0.0.1:9" }
`,
  })
  return {
    tenant,
    async explain(token, ...argv) {
      if (token === undefined) return behalf(['explain', ...argv], { cwd })
      const file = await folder(t, { token })
      return behalfAgain(['explain', '--token-file', `${file}/token`, ...argv], { cwd })
    },
  }
}

test('a request that would pass is told step by step, in a hundred columns, without colours', async (t) => {
  const { explain, tenant } = await setting(t)
  const token = await tenant.token({ user: 'alice', audience: STOREFRONT })
  const { code, out, err } = await explain(token, 'GET', '/orders')
  assert.deepEqual([code, err], [0, ''])
  const lines = out.split('\n')
  assert.deepEqual(
    lines.filter((line) => line.startsWith('✓')),
    ['✓ route', '✓ authenticate', '✓ authorize', '✓ exchange', '✓ proxy'],
  )
  assert.ok(!out.includes('\u001b'))
  for (const line of lines) assert.ok(line.length <= 100, line)
  assert.match(out, /^ {4}✓ scopes$/m)
  assert.match(out, /^ +client_secret +\[withheld\]$/m)
  for (const secret of [token.split('.')[2]!, CLIENT_SECRET]) assert.ok(!out.includes(secret))
})

test('a refusal is told with its reason and what to change, and what comes after it is not reached', async (t) => {
  const { explain, tenant } = await setting(t)
  const token = await tenant.token({ user: 'alice', audience: STOREFRONT, scope: 'write:orders' })
  const { code, out } = await explain(token, 'GET', '/orders')
  assert.equal(code, 1)
  assert.match(out, /^✗ authorize$/m)
  assert.match(out, /^ {4}✗ scopes\n {6}needs {2}read:orders\n {6}found {2}write:orders$/m)
  assert.match(out, /→ 403 insufficient_scope: the access token lacks a scope of this route/)
  assert.match(out, /^· not reached: exchange, proxy$/m)
})

test('as JSON it is what the admin listener answers', async (t) => {
  const { explain } = await setting(t)
  const { code, out } = await explain(undefined, 'POST', '/orders', '--format', 'json')
  assert.equal(code, 1)
  const explanation = JSON.parse(out) as Explanation
  assert.deepEqual(explanation.request, { method: 'POST', target: '/orders' })
  const [route] = explanation.steps
  assert.equal(route?.refusal?.code, 'method_not_allowed')
  assert.match(route.refusal.remedy, /add POST to its `match\.methods`/)
})

test('without a token the way ends where one is needed', async (t) => {
  const { explain } = await setting(t)
  const { code, out } = await explain(undefined, 'GET', '/orders')
  assert.equal(code, 1)
  assert.match(out, /^GET \/orders\nwithout a token\n\n✓ route/)
  assert.match(out, /→ 401 missing_token/)
})

for (const argv of [[], ['GET'], ['GET', '/orders', 'more']]) {
  test(`explain ${argv.join(' ')} is no question`, async (t) => {
    const { explain } = await setting(t)
    const { code, err } = await explain(undefined, ...argv)
    assert.equal(code, 64)
    assert.match(err, /name one METHOD and one TARGET/)
  })
}

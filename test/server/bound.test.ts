import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  createTenant,
  type Fault,
  type Tenant,
  type TenantOptions,
} from '../../src/tenant/index.ts'
import { verifyProof } from '../proofs.ts'
import { bearer, oneRoute, startGateway, startUpstream, type Upstream } from '../system.ts'

const ORDERS = 'https://orders.internal'

interface Path {
  readonly tenant: Tenant
  readonly upstream: Upstream
  ask(): Promise<Response>
}

async function pathTo(t: TestContext, options: TenantOptions, required = true): Promise<Path> {
  const tenant = await createTenant(options)
  t.after(() => tenant.close())
  const possession = { mechanism: 'dpop', required } as const
  tenant.state.resourceServers.get(ORDERS)!.proof_of_possession = possession
  const upstream = await startUpstream(t)
  const gateway = await startGateway(
    t,
    oneRoute({
      ...{ issuer: tenant.url, upstream: upstream.origin, profile: 'auth0' },
      client: { id: 'storefront-gateway', secret: 'demo-only-storefront-client-secret-0001' },
      exchange: { bound: 'dpop' },
    }),
  )
  const token = await tenant.token({ user: 'alice', audience: 'https://storefront.example' })
  return { tenant, upstream, ask: () => fetch(`${gateway.origin}/orders`, bearer(token)) }
}

for (const dpopNonces of [false, true]) {
  const how = dpopNonces ? 'that wants nonces' : 'that wants none'
  test(`a tenant ${how} gives the upstream a token that only the gateway can use`, async (t) => {
    const { tenant, upstream, ask } = await pathTo(t, { dpopNonces })
    for (let request = 0; request < 3; request++) assert.equal((await ask()).status, 200)
    assert.equal(tenant.exchanges(), dpopNonces ? 2 : 1)
    for (const { headers } of upstream.received) {
      const [scheme, accessToken] = (headers.authorization ?? '').split(' ')
      assert.equal(scheme, 'DPoP')
      const expected = { method: 'GET', url: `${upstream.origin}/orders`, accessToken }
      await verifyProof(headers['dpop'], expected)
    }
  })
}

for (const [what, fault] of [
  ['a bearer token that came without a word', { kind: 'unbound', times: 1 }],
  ['a token that is bound to somebody else', { kind: 'wrong_cnf', times: 1 }],
] as const satisfies readonly (readonly [string, Fault])[]) {
  test(`${what} never leaves a gateway that asked for a bound one`, async (t) => {
    const { tenant, upstream, ask } = await pathTo(t, {}, false)
    tenant.fault(fault)
    const refused = await ask()
    assert.equal(refused.status, 502)
    assert.equal(((await refused.json()) as { code: string }).code, 'exchange_misconfigured')
    assert.equal(upstream.received.length, 0)
  })
}

test('a token that its issuer binds as the route wants it does leave', async (t) => {
  const { upstream, ask } = await pathTo(t, {}, false)
  assert.equal((await ask()).status, 200)
  assert.equal(upstream.received.length, 1)
})

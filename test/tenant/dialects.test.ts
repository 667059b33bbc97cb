import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TokenDialect } from '../../src/tenant/index.ts'
import { ask, exchangeForm, ORDERS, startTenant, STOREFRONT, tokenOf, verified } from './ask.ts'

interface Dialect {
  readonly name: TokenDialect
  readonly typ: string
  readonly client: 'azp' | 'client_id'
  readonly isIdentified: boolean
  readonly hasPermissions: boolean
}

const DIALECTS: readonly Dialect[] = [
  dialect('access_token', 'JWT', 'azp', false, false),
  dialect('access_token_authz', 'JWT', 'azp', false, true),
  dialect('rfc9068_profile', 'at+jwt', 'client_id', true, false),
  dialect('rfc9068_profile_authz', 'at+jwt', 'client_id', true, true),
]

function dialect(
  name: TokenDialect,
  typ: string,
  client: 'azp' | 'client_id',
  isIdentified: boolean,
  hasPermissions: boolean,
): Dialect {
  return { name, typ, client, isIdentified, hasPermissions }
}

for (const { name, typ, client, isIdentified, hasPermissions } of DIALECTS) {
  const other = client === 'azp' ? 'client_id' : 'azp'

  test(`a login in the dialect ${name}`, async (t) => {
    const tenant = await startTenant(t)
    tenant.state.resourceServers.get(STOREFRONT)!.token_dialect = name
    const token = await tenant.token({ user: 'alice', audience: STOREFRONT, scope: 'read:orders' })
    const { claims, header } = await verified(tenant, token)
    assert.equal(header['typ'], typ)
    assert.deepEqual([claims[client], other in claims], ['spa', false])
    assert.equal(claims['gty'], client === 'azp' ? 'password' : undefined)
    assert.equal(typeof claims.jti, isIdentified ? 'string' : 'undefined')
    assert.deepEqual(
      claims['permissions'],
      hasPermissions ? ['read:orders', 'write:orders', 'read:inventory'] : undefined,
    )
  })

  test(`an exchange for an API of the dialect ${name}`, async (t) => {
    const tenant = await startTenant(t)
    tenant.state.resourceServers.get(ORDERS)!.token_dialect = name
    const subject = await tenant.token({ user: 'alice', audience: STOREFRONT })
    const { claims, header } = await verified(
      tenant,
      tokenOf(await ask(tenant, exchangeForm(subject))),
    )
    assert.equal(header['typ'], typ)
    assert.deepEqual([claims[client], other in claims], ['storefront-gateway', false])
    assert.equal('gty' in claims, false)
    assert.equal(typeof claims.jti, isIdentified ? 'string' : 'undefined')
    assert.deepEqual(
      claims['permissions'],
      hasPermissions ? ['orders:read', 'orders:write'] : undefined,
    )
  })

  test(`a subject token in the dialect ${name} names its application in the chain`, async (t) => {
    const tenant = await startTenant(t)
    tenant.state.resourceServers.get(STOREFRONT)!.token_dialect = name
    const subject = await tenant.token({ user: 'alice', audience: STOREFRONT })
    const { claims } = await verified(tenant, tokenOf(await ask(tenant, exchangeForm(subject))))
    assert.deepEqual(claims['act'], { sub: 'storefront-gateway', act: { sub: 'spa' } })
  })
}

test('two tokens of the RFC 9068 dialect never have the same jti', async (t) => {
  const tenant = await startTenant(t, { clock: () => 1_700_000_000_000 })
  tenant.state.resourceServers.get(STOREFRONT)!.token_dialect = 'rfc9068_profile'
  const ask = { user: 'alice', audience: STOREFRONT }
  assert.notEqual(await tenant.token(ask), await tenant.token(ask))
})

test('without policies there are no permissions, whatever the dialect', async (t) => {
  const tenant = await startTenant(t)
  const storefront = tenant.state.resourceServers.get(STOREFRONT)!
  storefront.token_dialect = 'access_token_authz'
  storefront.enforce_policies = false
  const token = await tenant.token({ user: 'alice', audience: STOREFRONT })
  assert.equal('permissions' in (await verified(tenant, token)).claims, false)
})

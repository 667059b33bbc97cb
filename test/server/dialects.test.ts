import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { TokenDialect } from '../../src/tenant/index.ts'
import { bearer, startGateway, startUpstream } from '../system.ts'
import { ask, ORDERS, startTenant, STOREFRONT, STOREFRONT_CLIENT, tokenOf } from '../tenant/ask.ts'

interface Setting {
  /** Alice's by the single-page application, and a batch job's own. */
  readonly tokens: { readonly user: string; readonly client: string }
  /** What a path answers to a token: the status, and the code of a failure. */
  readonly ask: (path: string, token: string) => Promise<readonly [number, unknown]>
}

const BATCH = { client_id: 'batch', client_secret: 'a secret of the batch job' }

/** A tenant whose storefront has tokens of this dialect, and a gateway with a route for each kind of condition. */
async function setting(t: TestContext, dialect: TokenDialect, api: object = {}): Promise<Setting> {
  const [tenant, upstream] = [await startTenant(t), await startUpstream(t)]
  tenant.state.resourceServers.get(STOREFRONT)!.token_dialect = dialect
  tenant.state.addClient({
    ...BATCH,
    app_type: 'non_interactive',
    grant_types: ['client_credentials'],
  })
  const scope = ['read:orders']
  tenant.state.addClientGrant({ client_id: 'batch', audience: STOREFRONT, scope })
  const route = (
    name: string,
    authorize: object,
    exchange: object = { grant: 'none' },
  ): object => ({
    name,
    match: { path: `/${name}` },
    authenticate: { api: 'storefront' },
    authorize,
    exchange,
    proxy: { upstream: upstream.origin },
  })
  const gateway = await startGateway(t, {
    issuers: { tenant: { issuer: tenant.url, profile: 'auth0', budget: { rate: 1_000 } } },
    apis: {
      storefront: {
        ...{ issuer: 'tenant', audience: STOREFRONT, ...api },
        client: { id: STOREFRONT_CLIENT.client_id, secret: STOREFRONT_CLIENT.client_secret },
      },
    },
    routes: [
      route('orders', {}, { audience: ORDERS, scopes: ['orders:read'] }),
      route('any', {}),
      route('users', { subject: 'user' }),
      route('machines', { subject: 'client' }),
      route('spa', { clients: ['spa'] }),
      route('permitted', { permissions: ['read:orders'] }),
    ],
  })
  const form = { grant_type: 'client_credentials', ...BATCH, audience: STOREFRONT }
  return {
    tokens: {
      user: await tenant.token({ user: 'alice', audience: STOREFRONT, scope: 'read:orders' }),
      client: tokenOf(await ask(tenant, form)),
    },
    ask: async (path, token) => {
      const answer = await fetch(`${gateway.origin}/${path}`, bearer(token))
      const { code } = (await answer.json()) as { readonly code?: unknown }
      return [answer.status, code]
    },
  }
}

const OK = [200, undefined]
const NOT_PERMITTED = [403, 'not_permitted']

for (const dialect of [
  'access_token',
  'access_token_authz',
  'rfc9068_profile',
  'rfc9068_profile_authz',
] as const) {
  test(`in the dialect ${dialect} users, clients and permissions are told apart`, async (t) => {
    const { ask, tokens } = await setting(t, dialect)
    assert.deepEqual(await ask('users', tokens.user), OK)
    assert.deepEqual(await ask('users', tokens.client), NOT_PERMITTED)
    assert.deepEqual(await ask('machines', tokens.client), OK)
    assert.deepEqual(await ask('machines', tokens.user), NOT_PERMITTED)
    assert.deepEqual(await ask('any', tokens.user), OK)
    assert.deepEqual(await ask('any', tokens.client), OK)
    assert.deepEqual(await ask('spa', tokens.user), OK)
    assert.deepEqual(await ask('spa', tokens.client), NOT_PERMITTED)
    assert.deepEqual(
      await ask('permitted', tokens.user),
      dialect.endsWith('_authz') ? OK : [403, 'insufficient_scope'],
    )
  })

  test(`in the dialect ${dialect} a user's token is exchanged, and a client's is not even tried`, async (t) => {
    const { ask, tokens } = await setting(t, dialect)
    assert.deepEqual(await ask('orders', tokens.user), OK)
    assert.deepEqual(await ask('orders', tokens.client), NOT_PERMITTED)
  })

  const isTyped = dialect.startsWith('rfc9068')
  test(`the dialect ${dialect} is ${isTyped ? '' : 'not '}one of at+jwt`, async (t) => {
    const { ask, tokens } = await setting(t, dialect, { typ: 'at+jwt' })
    assert.deepEqual(await ask('any', tokens.user), isTyped ? OK : [401, 'invalid_token'])
  })
}

/** Two independent issuers that give any user a token, and the configuration of a gateway for each. */
import { createTenant } from '../../src/tenant/index.ts'
import { GATEWAY_CLIENT, startAuthorizationServer } from '../interop/authorization-server.ts'
import { oneRoute, type Gateway, type Scope } from '../system.ts'

export interface Issuing {
  readonly name: string
  readonly url: string
  readonly profile: 'auth0' | 'rfc8693'
  readonly client: object
  /** The `sub` of a user's tokens. */
  subjectOf(user: string): string
  /** A token for the storefront, of a user that may be new. */
  newToken(user: string): Promise<string>
  /** How many exchanges were asked for so far. */
  exchanges(): number
}

export async function startTenant(scope: Scope): Promise<Issuing> {
  const tenant = await createTenant()
  scope.after(() => tenant.close())
  return {
    name: 'tenant',
    url: tenant.url,
    profile: 'auth0',
    client: { id: 'storefront-gateway', secret: 'demo-only-storefront-client-secret-0001' },
    subjectOf: (user) => `auth0|${user}`,
    newToken(user) {
      if (!tenant.state.users.has(user)) tenant.addUser(user)
      return tenant.token({ user, audience: 'https://storefront.example', scope: 'read:orders' })
    },
    exchanges: () => tenant.exchanges(),
  }
}

export async function startOidcProvider(scope: Scope): Promise<Issuing> {
  const server = await startAuthorizationServer()
  scope.after(() => server.close())
  return {
    name: 'oidc-provider',
    url: server.issuer,
    profile: 'rfc8693',
    client: GATEWAY_CLIENT,
    subjectOf: (user) => user,
    newToken: (user) => server.token(user),
    exchanges: () => server.exchanges(),
  }
}

/** One route, `/orders`. Neither a budget nor a slow machine stands in the way. */
export function throughIssuer(issuing: Issuing, upstream: string): object {
  const { url, profile, client } = issuing
  return {
    ...oneRoute({ issuer: url, upstream, client, exchange: { timeout: '60s' } }),
    issuers: { tenant: { issuer: url, profile, budget: { rate: 10_000, burst: 10_000 } } },
  }
}

/** How the gateway's requests came by their tokens: `hit`, `joined`, `miss`. */
export function cacheOutcomes({ metrics }: Gateway): Readonly<Record<string, number>> {
  const lines = metrics.render().matchAll(/^behalf_cache_total\{.*outcome="(\w+)".*\} (\d+)$/gm)
  return Object.fromEntries(Array.from(lines, ([, outcome, count]) => [outcome, Number(count)]))
}

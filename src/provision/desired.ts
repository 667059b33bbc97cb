import type { Api, Config, Issuer } from '../config/config.ts'
import type { Blank } from './blanks.ts'
import { wantedApplications, wantedClient, type WantedClient } from './desired-clients.ts'
import { wantedGrants, type WantedGrant } from './desired-grants.ts'
import { wantedServers, type WantedServer } from './desired-servers.ts'
import { ProvisionError } from './failure.ts'
import type { Generation, Plot } from './plot.ts'

/** What a tenant must hold so that every route can be served, in the order in which it is created. */
export interface Desired {
  readonly generation: Generation
  readonly servers: readonly WantedServer[]
  readonly clients: readonly WantedClient[]
  readonly grants: readonly WantedGrant[]
}

/** Whether `provision` sets this issuer up. */
export function isProvisioned({ profile }: Issuer): boolean {
  return profile === 'auth0' || profile === 'auth0-legacy'
}

/**
 * Reads only the configuration and the keys that it names, and asks no tenant.
 *
 * @throws {ProvisionError} `impossible` for options that Auth0 does not support
 */
export async function desired(
  config: Config,
  issuer: Issuer,
  blanks: readonly Blank[],
): Promise<Desired> {
  const apis = config.apis.filter((api) => api.issuer === issuer)
  const generation = issuer.profile === 'auth0-legacy' ? 'legacy' : 'current'
  const plot: Plot = { config, issuer, generation, apis, blanks }
  const acting = apis.filter((api) => actsAsClient(plot, api))
  const clients = await Promise.all(acting.map((api) => wantedClient(plot, api)))
  return {
    generation,
    servers: await wantedServers(plot),
    clients: [...clients, ...wantedApplications(plot)],
    grants: wantedGrants(plot),
  }
}

function actsAsClient({ config, blanks }: Plot, api: Api): boolean {
  const asks = config.routes.some(
    ({ authenticate, exchange }) =>
      authenticate.apis.includes(api) &&
      (exchange.grant === 'token-exchange' || exchange.grant === 'client-credentials'),
  )
  const granted = config.provision.grants.some((grant) => grant.api === api.name)
  if (!asks && !granted) return false
  if (api.client !== undefined) return true
  const blank = blanks.length > 0 ? ' (its variables may be unset)' : ''
  throw new ProvisionError('impossible', `apis.${api.name} needs a \`client\`${blank}`)
}

import type { Permit } from '../authorize/authorize.ts'
import type { Client, Issuer } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { createOutbound, type Identity, type Outbound } from '../outbound.ts'
import { createActor, type Actor } from './actor.ts'
import { keyToBind } from './binding.ts'
import { clientOf } from './client.ts'
import { Nonces } from './dpop.ts'
import { PROFILES } from './profiles.ts'
import { createProve, showsCertificate } from './prove.ts'
import { createTokenEndpoint, type TokenEndpoint } from './token-endpoint.ts'

export interface AccessOptions {
  /** The URL of an issuer's token endpoint, or of its alias for clients with a certificate, by one of its identifiers. */
  readonly tokenEndpointOf: (
    issuer: Issuer,
    identifier: string,
    endpoint: 'tokenEndpoint' | 'mutualTlsTokenEndpoint',
  ) => Promise<string>
  readonly outbound: Outbound
  /** Opens connections that show a certificate. Default: new ones, with the usual limits. */
  readonly presenting?: (identity: Identity) => Outbound
}

/** One client at one token endpoint. */
export interface Access {
  readonly endpoint: TokenEndpoint
  readonly actor: Actor
}

export interface Accesses {
  /** @throws {GatewayError} `exchange_unavailable` where the token endpoint is not known */
  for(permit: Permit): Promise<Access>
  /** Closes the connections that show certificates; the `outbound` that was given is not its own to close. */
  close(): Promise<void>
}

/** Each client's access to each token endpoint, made on first use. */
export function createAccesses(options: AccessOptions): Accesses {
  const { tokenEndpointOf, outbound, presenting = withIdentity } = options
  const accesses = new Map<Client, Map<string, Access>>()
  const nonces = new Nonces()
  const shown = new Set<Outbound>()

  function shownBy(identity: Identity): Outbound {
    const own = presenting(identity)
    shown.add(own)
    return own
  }

  async function accessFor({ subject, route }: Permit): Promise<Access> {
    const { api, issuer: identifier } = subject
    const { issuer } = api
    const { bound } = route.exchange
    const client = clientOf({ subject, route })
    if (client === undefined) throw new TypeError(`the API ${api.name} has no client`)
    const shows = showsCertificate(client, bound === 'mtls')
    const kind = shows ? 'mutualTlsTokenEndpoint' : 'tokenEndpoint'
    const url = await tokenEndpointOf(issuer, identifier, kind).catch((cause: unknown) => {
      throw new GatewayError('exchange_unavailable', 'the token endpoint is not known', {
        cause,
        retryAfter: 1,
      })
    })
    const ofClient = accesses.get(client) ?? new Map<string, Access>()
    accesses.set(client, ofClient)
    const name = JSON.stringify([identifier, url, bound])
    const known = ofClient.get(name)
    if (known !== undefined) return known
    const profile = PROFILES[issuer.profile]
    const prove = createProve(client, { profile, url, outbound, presenting: shownBy, shows })
    const dpop = bound === 'dpop' ? { key: () => keyToBind(client), nonces } : undefined
    const endpoint = createTokenEndpoint({ issuer: identifier, url, profile, prove, dpop })
    const made = { endpoint, actor: createActor(endpoint) }
    ofClient.set(name, made)
    return made
  }

  return {
    for: accessFor,
    close: async () => {
      // Where the certificate changed, the connections that showed the old one are closed already.
      await Promise.allSettled(Array.from(shown, (own) => own.close()))
    },
  }
}

function withIdentity(identity: Identity): Outbound {
  return createOutbound({ identity })
}

import type { Introspect } from '../authenticate/introspect.ts'
import { createRead } from '../authenticate/introspected.ts'
import type { Keys } from '../authenticate/keys.ts'
import type { Metadata } from '../authenticate/metadata.ts'
import type { Api, Issuer } from '../config/config.ts'
import {
  createIntrospectionEndpoint,
  type IntrospectionEndpoint,
} from '../exchange/introspection-endpoint.ts'
import type { Outbound } from '../outbound.ts'

export interface IntrospectionsOptions {
  readonly metadataOf: (issuer: Issuer) => Metadata
  readonly keysOf: (issuer: Issuer) => (identifier: string) => Keys
  readonly outbound: Outbound
}

export interface Introspections {
  /** Undefined for an API whose opaque tokens are not taken. */
  of(api: Api): Introspect | undefined
  close(): Promise<void>
}

/** Asks issuers about tokens: as the client of each API, at the endpoint of its issuer. */
export function createIntrospections(options: IntrospectionsOptions): Introspections {
  const { metadataOf, keysOf, outbound } = options
  const endpoints: IntrospectionEndpoint[] = []
  return {
    of(api) {
      const { issuer, client, audience, verification, clockToleranceMs } = api
      const [identifier] = issuer.identifiers
      if (!api.introspection || client === undefined || identifier === undefined) return undefined
      const metadata = metadataOf(issuer)
      const endpoint = createIntrospectionEndpoint({
        issuer,
        identifier,
        client,
        outbound,
        urlOf: async (name) => metadata(identifier, name),
      })
      endpoints.push(endpoint)
      const read = createRead({
        identifier,
        recipients: [client.id, audience],
        keys: () => keysOf(issuer)(identifier),
        // The signing secret of an API is for its tokens alone, not for introspection answers.
        algorithms: verification.kind === 'jwks' ? verification.algorithms : ['RS256'],
        clockToleranceMs,
      })
      return async (token) => read(await endpoint.ask(token))
    },
    close: async () => {
      await Promise.all(endpoints.map((endpoint) => endpoint.close()))
    },
  }
}

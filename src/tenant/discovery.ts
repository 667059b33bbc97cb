import express, { type RequestHandler, type Router } from 'express'
import type { Keys } from './keys.ts'

export interface DiscoveryOptions {
  readonly issuer: string
  readonly keys: Keys
  readonly grantTypes: readonly string[]
}

/** The metadata (OpenID Connect Discovery 1.0; RFC 8414) and the key set. Lists only endpoints that exist. */
export function createDiscovery({ issuer, keys, grantTypes }: DiscoveryOptions): Router {
  const metadata = {
    issuer,
    token_endpoint: `${issuer}oauth/token`,
    jwks_uri: `${issuer}.well-known/jwks.json`,
    grant_types_supported: grantTypes,
    response_types_supported: [],
    token_endpoint_auth_methods_supported: [
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
      'none',
    ],
    token_endpoint_auth_signing_alg_values_supported: ['RS256', 'RS384', 'PS256'],
    // RFC 9449, section 5.1.
    dpop_signing_alg_values_supported: ['ES256', 'RS256'],
  }
  const tellMetadata: RequestHandler = (_request, response) => void response.json(metadata)
  const router = express.Router()
  router.get('/openid-configuration', tellMetadata)
  router.get('/oauth-authorization-server', tellMetadata)
  router.get('/jwks.json', (_request, response) => void response.json(keys.published()))
  return router
}

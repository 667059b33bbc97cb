/**
 * A second, independent authorization server: oidc-provider with a token-exchange grant. Its tokens, keys, discovery,
 * client authentication and error answers are its own.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, type JWK } from 'jose'
import Provider, { errors, type Context } from 'oidc-provider'

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
/** How the tests log a user in: not a grant that anyone should offer. */
const TEST_LOGIN = 'urn:test:login'

export const GATEWAY_CLIENT = {
  id: 'gateway: the client',
  secret: 'a secret/with+signs that=need&care',
}

const SECRET_CLIENT: ClientMetadata = {
  client_secret: GATEWAY_CLIENT.secret,
  token_endpoint_auth_method: 'client_secret_basic',
}

const SCOPES: Readonly<Record<string, string>> = {
  'https://storefront.example': 'read:orders write:orders',
  'https://orders.internal': 'orders:read orders:write',
}

export interface AuthorizationServer {
  readonly issuer: string
  exchanges(): number
  token(user: string, scope?: string): Promise<string>
  close(): Promise<void>
}

/** What stands in place of the gateway's secret: members of client metadata (OpenID Connect Registration, section 2). */
type ClientMetadata = Readonly<Record<string, unknown>>

export async function startAuthorizationServer(
  algorithm: 'RS256' | 'PS256' | 'ES256' = 'RS256',
  client: ClientMetadata = SECRET_CLIENT,
): Promise<AuthorizationServer> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const key: JWK = { ...(await exportJWK(privateKey)), kid: 'one', alg: algorithm, use: 'sig' }
  const { d: _d, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...publicKey } = key
  const keys = createLocalJWKSet({ keys: [publicKey] })
  const server = http.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  let exchanges = 0

  const provider = quietly(() => new Provider(issuer, configuration(key, algorithm, client)))
  provider.registerGrantType(TEST_LOGIN, (context) => login(context, provider), [
    'user',
    'resource',
    'scope',
  ])
  provider.registerGrantType(
    TOKEN_EXCHANGE,
    async (context) => {
      exchanges++
      const { subject_token: subject = '' } = context.oidc.params
      const { payload } = await jwtVerify(subject, keys, {
        issuer,
        audience: 'https://storefront.example',
      }).catch(() => {
        throw new errors.InvalidRequest('subject_token is not acceptable')
      })
      await exchange(context, provider, payload.sub ?? '')
    },
    ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'scope'],
  )
  server.on('request', provider.callback())

  return {
    issuer,
    exchanges: () => exchanges,
    async token(user, scope = 'read:orders') {
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: TEST_LOGIN,
          client_id: 'spa',
          user,
          resource: 'https://storefront.example',
          scope,
        }),
      })
      const { access_token: token } = (await response.json()) as { access_token?: string }
      if (token === undefined) throw new Error('the test login was refused')
      return token
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function configuration(key: JWK, algorithm: string, client: ClientMetadata): object {
  return {
    jwks: { keys: [key] },
    cookies: { keys: ['for tests only'] },
    ttl: { AccessToken: 3_600 },
    clientDefaults: { id_token_signed_response_alg: algorithm },
    enabledJWA: {
      idTokenSigningAlgValues: [algorithm],
      clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256'],
    },
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    scopes: ['read:orders', 'write:orders', 'orders:read', 'orders:write'],
    clients: [
      {
        client_id: 'spa',
        token_endpoint_auth_method: 'none',
        grant_types: [TEST_LOGIN],
        redirect_uris: [],
        response_types: [],
      },
      {
        client_id: GATEWAY_CLIENT.id,
        ...client,
        grant_types: [TOKEN_EXCHANGE],
        redirect_uris: [],
        response_types: [],
      },
    ],
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context: unknown, identifier: string) =>
          resourceServer(identifier),
      },
    },
    extraTokenClaims: (_context: unknown, { extra }: { extra?: object }) => extra,
  }
}

function resourceServer(identifier: string): object {
  const scope = SCOPES[identifier]
  if (scope === undefined) throw new errors.InvalidTarget('no such resource server')
  return { audience: identifier, scope, accessTokenTTL: 3_600, accessTokenFormat: 'jwt' }
}

async function login(context: Context, provider: Provider): Promise<void> {
  const { user = '', resource = '', scope = '' } = context.oidc.params
  await issue(context, provider, { user, audience: resource, scope })
}

async function exchange(context: Context, provider: Provider, user: string): Promise<void> {
  const { params, client } = context.oidc
  if (params['subject_token_type'] !== ACCESS_TOKEN) {
    throw new errors.InvalidRequest('subject_token_type is not supported')
  }
  const { audience = '', scope = '' } = params
  const actor = { act: { sub: client.clientId } }
  await issue(context, provider, { user, audience, scope, extra: actor })
  context.body = { ...(context.body as object), issued_token_type: ACCESS_TOKEN }
}

interface Issue {
  readonly user: string
  readonly audience: string
  readonly scope: string
  readonly extra?: Record<string, unknown>
}

async function issue(context: Context, provider: Provider, asked: Issue): Promise<void> {
  const { user, audience, scope, extra } = asked
  const info = resourceServer(audience)
  const token = new provider.AccessToken({
    accountId: user,
    client: context.oidc.client,
    scope,
    gty: context.oidc.params['grant_type'] ?? '',
    ...(extra === undefined ? {} : { extra }),
  })
  token.resourceServer = new provider.ResourceServer(audience, info)
  const value = await token.save()
  context.body = {
    access_token: value,
    expires_in: token.expiration,
    token_type: token.tokenType,
    scope,
  }
}

/** It warns about plain http and about Node 20 on every start; in a test both are meant. */
function quietly<Value>(start: () => Value): Value {
  const { warn, info } = console
  console.warn = console.info = () => undefined
  try {
    return start()
  } finally {
    Object.assign(console, { warn, info })
  }
}

/**
 * A second, independent authorization server: oidc-provider with a token-exchange grant. Its tokens, keys, discovery,
 * client authentication and error answers are its own.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, type JWK } from 'jose'
import Provider, { errors, type Context } from 'oidc-provider'
import { checkMtlsCert, validateDpop } from 'oidc-provider/lib/helpers/grants.js'

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
  /** Takes an opaque token back (RFC 7009). */
  revoke(token: string): Promise<void>
  /** How often it was asked about a token. */
  introspections(): number
  close(): Promise<void>
}

export interface AuthorizationServerOptions {
  /** Want a nonce in each proof (RFC 9449, section 8). Default false. */
  readonly nonces?: boolean
  /** The storefront's tokens are opaque, and answers about them JSON or signed (RFC 9701). Default: they are JWTs. */
  readonly opaque?: 'json' | 'signed' | undefined
  /** Serve over TLS, asking for certificates of this authority; the test login needs one too. Default: plain http. */
  readonly tls?: Pick<https.ServerOptions, 'cert' | 'key' | 'ca'>
  /** How the test logs in where the server cannot be trusted by default. */
  readonly post?: (url: string, body: string) => Promise<Response>
}

/** What stands in place of the gateway's secret: members of client metadata (OpenID Connect Registration, section 2). */
type ClientMetadata = Readonly<Record<string, unknown>>

export async function startAuthorizationServer(
  algorithm: 'RS256' | 'PS256' | 'ES256' = 'RS256',
  client: ClientMetadata = SECRET_CLIENT,
  options: AuthorizationServerOptions = {},
): Promise<AuthorizationServer> {
  const { tls, post = postForm, opaque } = options
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const key: JWK = { ...(await exportJWK(privateKey)), kid: 'one', alg: algorithm, use: 'sig' }
  const { d: _d, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...publicKey } = key
  const keys = createLocalJWKSet({ keys: [publicKey] })
  const server = tls
    ? https.createServer({ ...tls, requestCert: true, rejectUnauthorized: false })
    : http.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`
  let exchanges = 0
  let introspections = 0

  const provider = quietly(
    () => new Provider(issuer, configuration(key, algorithm, client, options)),
  )
  provider.registerGrantType(TEST_LOGIN, (context) => login(context, provider, opaque), [
    'user',
    'resource',
    'scope',
  ])
  provider.registerGrantType(
    TOKEN_EXCHANGE,
    async (context) => {
      exchanges++
      const { subject_token: subject = '' } = context.oidc.params
      const user = opaque
        ? (await provider.AccessToken.find(subject))?.accountId
        : (
            await jwtVerify(subject, keys, {
              issuer,
              audience: 'https://storefront.example',
            }).catch(() => undefined)
          )?.payload.sub
      if (user === undefined) throw new errors.InvalidRequest('subject_token is not acceptable')
      await exchange(context, provider, user)
    },
    ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'scope'],
  )
  provider.use(async (context, next) => {
    if (context.path === '/token/introspection') introspections++
    await next()
  })
  server.on('request', provider.callback())

  return {
    issuer,
    exchanges: () => exchanges,
    async token(user, scope = 'read:orders') {
      const form = new URLSearchParams({
        grant_type: TEST_LOGIN,
        client_id: 'spa',
        user,
        resource: 'https://storefront.example',
        scope,
      })
      const response = await post(`${issuer}/token`, form.toString())
      const { access_token: token } = (await response.json()) as { access_token?: string }
      if (token === undefined) throw new Error('the test login was refused')
      return token
    },
    async revoke(token) {
      await (await provider.AccessToken.find(token))?.destroy()
    },
    introspections: () => introspections,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

function postForm(url: string, body: string): Promise<Response> {
  return fetch(url, { method: 'POST', headers: FORM, body })
}

function configuration(
  key: JWK,
  algorithm: string,
  client: ClientMetadata,
  { nonces = false, opaque }: AuthorizationServerOptions,
): object {
  return {
    jwks: { keys: [key] },
    cookies: { keys: ['for tests only'] },
    ttl: { AccessToken: 3_600 },
    clientDefaults: { id_token_signed_response_alg: algorithm },
    enabledJWA: {
      idTokenSigningAlgValues: [algorithm],
      clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256'],
    },
    clientAuthMethods: [
      'none',
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
      'tls_client_auth',
    ],
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
      introspection: { enabled: opaque !== undefined },
      jwtIntrospection: { enabled: opaque === 'signed' },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => nonces },
      mTLS: {
        ...{ enabled: true, certificateBoundAccessTokens: true, tlsClientAuth: true },
        certificateAuthorized: ({ req }: Context) => (req.socket as TLSSocket).authorized,
        certificateSubjectMatches: ({ req }: Context, _property: string, expected: string) =>
          (req.socket as TLSSocket).getPeerX509Certificate()?.subject === expected,
        getCertificate: ({ req }: Context) => (req.socket as TLSSocket).getPeerX509Certificate(),
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context: unknown, identifier: string) =>
          resourceServer(identifier, opaque),
      },
    },
    extraTokenClaims: (_context: unknown, { extra }: { extra?: object }) => extra,
  }
}

const STOREFRONT = 'https://storefront.example'

function resourceServer(identifier: string, opaque: AuthorizationServerOptions['opaque']): object {
  const accessTokenFormat = opaque && identifier === STOREFRONT ? 'opaque' : 'jwt'
  const scope = SCOPES[identifier]
  if (scope === undefined) throw new errors.InvalidTarget('no such resource server')
  return { audience: identifier, scope, accessTokenTTL: 3_600, accessTokenFormat }
}

async function login(
  context: Context,
  provider: Provider,
  opaque: AuthorizationServerOptions['opaque'],
): Promise<void> {
  const { user = '', resource = '', scope = '' } = context.oidc.params
  await issue(context, provider, { user, audience: resource, scope, opaque })
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
  readonly opaque?: AuthorizationServerOptions['opaque']
}

async function issue(context: Context, provider: Provider, asked: Issue): Promise<void> {
  const { user, audience, scope, extra, opaque } = asked
  const info = resourceServer(audience, opaque)
  const token = new provider.AccessToken({
    accountId: user,
    client: context.oidc.client,
    scope,
    gty: context.oidc.params['grant_type'] ?? '',
    ...(extra === undefined ? {} : { extra }),
  })
  // Its own checks: of section 4.3 of RFC 9449, and of the connection's certificate where the client's metadata asks for it.
  const proof = await validateDpop(provider, context)
  if (proof !== undefined) token.setThumbprint('jkt', proof.thumbprint)
  const certificate = checkMtlsCert(provider, context)
  if (certificate !== undefined) token.setThumbprint('x5t', certificate)
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

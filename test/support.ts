/** Builders with defaults: a test names only what it is about. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import type { SubjectToken } from '../src/authenticate/authenticate.ts'
import type { Presented } from '../src/authenticate/bearer.ts'
import { partiesOf } from '../src/authenticate/parties.ts'
import { authorize, type Permit } from '../src/authorize/authorize.ts'
import type { AuthorizeConfig } from '../src/config/authorize.ts'
import type { Api, Issuer, Route } from '../src/config/config.ts'
import type { Ask } from '../src/exchange/exchange.ts'
import type { IssuedToken } from '../src/exchange/issued.ts'

export const IDENTIFIER = 'https://issuer.example/'
export const AUDIENCE = 'https://storefront.example'
/** Long enough for HS256 (RFC 7518, section 3.2). */
export const SECRET = 'a signing secret of at least thirty-two bytes'

export function issuer(given: Partial<Issuer> = {}): Issuer {
  return {
    name: 'tenant',
    identifiers: [IDENTIFIER],
    profile: 'rfc8693',
    tokenEndpoint: undefined,
    jwksUri: undefined,
    staleForMs: 3_600_000,
    dangerouslyAllowHttp: false,
    budget: undefined,
    ...given,
  }
}

export function api(given: Partial<Api> = {}): Api {
  return {
    name: 'storefront',
    issuer: issuer(),
    audience: AUDIENCE,
    verification: { kind: 'secret', secrets: [SECRET] },
    typ: undefined,
    clockToleranceMs: 5_000,
    client: { id: 'storefront-client', method: 'client_secret_post', secret: 'client secret' },
    resource: undefined,
    proofOfPossession: undefined,
    ...given,
  }
}

type Blocks = { [Name in 'match' | 'authenticate' | 'authorize' | 'exchange' | 'proxy']?: object }

const UNCONDITIONAL: AuthorizeConfig = {
  scopes: [],
  anyScope: [],
  permissions: [],
  subject: 'any',
  assumed: { subject: false, maxDepth: false },
  clients: undefined,
  organizations: undefined,
  claims: [],
  authorizationDetails: undefined,
  actors: { allow: undefined, required: false, maxDepth: undefined },
  mayAct: 'check',
  acrValues: undefined,
  maxAgeMs: undefined,
}

/** Each block is laid over its defaults. */
export function route(given: Blocks & { readonly name?: string } = {}): Route {
  return {
    name: given.name ?? 'orders',
    match: {
      path: '/orders',
      hosts: [],
      methods: undefined,
      pathParameters: false,
      ...given.match,
    },
    authenticate: { apis: [api()], ...given.authenticate },
    authorize: { ...UNCONDITIONAL, ...given.authorize },
    exchange: {
      grant: 'token-exchange',
      delegation: false,
      audience: 'https://orders.internal',
      resource: undefined,
      scopes: [],
      parameters: {},
      key: 'token',
      ignoreClaims: [],
      maxAgeMs: 3_600_000,
      defaultLifetimeMs: 300_000,
      timeoutMs: 5_000,
      expectAudience: undefined,
      extraScopes: undefined,
      bound: undefined,
      ...given.exchange,
    },
    proxy: {
      upstreams: [{ url: 'http://127.0.0.1:9', weight: 1 }],
      ...{ strip: '', prefix: '', retries: 1, tls: undefined },
      timeoutMs: 30_000,
      connectTimeoutMs: 2_000,
      cookies: 'strip',
      headers: undefined,
      websocket: undefined,
      http2: false,
      limits: {
        ...{ body: undefined, headers: undefined, headerCount: 100 },
        ...{ idleMs: 30_000, totalMs: undefined, inFlight: undefined, rates: [] },
      },
      ...given.proxy,
    },
  }
}

export function subject(given: Partial<SubjectToken> = {}): SubjectToken {
  const value = given.value ?? 'aGVhZGVy.cGF5bG9hZA.c2lnbmF0dXJl'
  const of = given.api ?? api()
  const claims = given.claims ?? { iss: IDENTIFIER, sub: given.subject ?? 'alice' }
  return {
    value,
    api: of,
    issuer: IDENTIFIER,
    subject: 'alice',
    claims,
    ...partiesOf(claims, of),
    scopes: new Set(),
    permissions: new Set(),
    expiresAt: Date.now() + 3_600_000,
    notBefore: 0,
    confirmation: undefined,
    digest: `digest of ${value}`,
    fingerprint: '00000000',
    ...given,
  }
}

/** `GET /orders` with a bearer token, at a gateway that nobody named. */
export function presented(token: string, given: Partial<Presented> = {}): Presented {
  return {
    ...{ method: 'GET', origins: [], target: '/orders' },
    ...{ scheme: 'Bearer', token, proof: undefined, certificate: () => undefined },
    ...given,
  }
}

export function permit(
  given: { subject?: Parameters<typeof subject>[0]; route?: Parameters<typeof route>[0] } = {},
): Permit {
  return authorize(subject(given.subject), route(given.route))
}

/** Of a caller that stays, and has a minute. */
export function ask(given: Partial<Ask> = {}): Ask {
  return {
    signal: new AbortController().signal,
    deadline: Date.now() + 60_000,
    outcome: undefined,
    ...given,
  }
}

export function issuedToken(given: Partial<IssuedToken> = {}): IssuedToken {
  return {
    scheme: 'Bearer',
    value: 'issued',
    expiresAt: Date.now() + 3_600_000,
    scopes: [],
    ...given,
  }
}

/** A readable token that nobody signed: for whoever reads claims and checks no signature. */
export function unsignedJwt(claims: object): string {
  const segment = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  return `${segment({ alg: 'RS256', typ: 'at+jwt' })}.${segment(claims)}.c2lnbmVk`
}

/** Serves on loopback until the test ends. Its origin, without a trailing slash. */
export async function listen(context: TestContext, handler: RequestListener): Promise<string> {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  context.after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

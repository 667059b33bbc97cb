import { binds } from './bindings.ts'
import type { Config, Route, ProfileName } from './config.ts'
import { asksForNothing, claimsJudged, isWeaker } from './conditions.ts'
import { isLoopback } from './issuers.ts'
import { processesOf } from './processes.ts'

/** A warning about a configuration that can be served, but is perhaps not what was meant. */
export interface Advice {
  readonly path: string
  readonly message: string
}

/** All advice about a configuration. Pure. */
export function advice(config: Config): readonly Advice[] {
  return [
    ...aboutIssuers(config),
    ...aboutUnused(config),
    ...aboutKeys(config),
    ...aboutIntrospection(config),
    ...aboutPossession(config),
    ...aboutRoutes(config),
    ...aboutSuccessions(config),
    ...aboutProxies(config),
    ...aboutPlain(config),
  ]
}

/** Not about the listener for callers: a balancer in front may end TLS for it. These are reached directly. */
function* aboutPlain({ admin, endpoints: { forwardAuth, token } }: Config): Iterable<Advice> {
  for (const [path, listener, what] of [
    ['admin', admin, 'the admin token travels'],
    ['endpoints.forwardAuth', forwardAuth, 'access tokens travel'],
    ['endpoints.token', token, 'tokens and secrets of clients travel'],
  ] as const) {
    if (listener === undefined || listener.tls || isLoopback(listener.listen.host)) continue
    yield {
      path: `${path}.listen`,
      message: `is beyond loopback without \`tls\`: ${what} in the clear`,
    }
  }
}

/** Only the process that redeemed a caller's refresh token knows at once what replaced it. */
function* aboutSuccessions({ routes, server }: Config): Iterable<Advice> {
  if (processesOf(server) === 1) return
  for (const [index, { exchange }] of routes.entries()) {
    if (exchange.grant !== 'refresh-token' || !exchange.returnRefreshToken) continue
    yield {
      path: `routes[${index}].exchange.refreshTokenHeader`,
      message:
        'requests of one caller that meet several processes send a rotated token twice: allow a few seconds of overlap ' +
        'at the issuer',
    }
  }
}

function* aboutIssuers({ issuers }: Config): Iterable<Advice> {
  for (const { name, profile, identifiers, budget, dangerouslyAllowHttp } of issuers) {
    const path = `issuers.${name}`
    if (budget?.assumed) {
      yield {
        path: `${path}.budget`,
        message:
          `none is given: at most ${budget.rate} exchanges per second leave, which is what the smallest Auth0 plan ` +
          'allows. Give the rate of yours',
      }
    }
    if (profile === 'auth0' && identifiers.some((identifier) => !identifier.endsWith('/'))) {
      yield {
        path: `${path}.issuer`,
        message:
          "ends without a slash; the `iss` of Auth0's tokens ends with one, and is compared exactly",
      }
    }
    if (dangerouslyAllowHttp) {
      yield {
        path: `${path}.dangerouslyAllowHttp`,
        message: 'tokens and secrets travel in the clear',
      }
    }
  }
}

function* aboutUnused({ issuers, apis, routes }: Config): Iterable<Advice> {
  const usedApis = new Set(routes.flatMap(({ authenticate: { apis } }) => apis))
  const usedIssuers = new Set(apis.map(({ issuer }) => issuer))
  for (const issuer of issuers) {
    if (!usedIssuers.has(issuer))
      yield { path: `issuers.${issuer.name}`, message: 'no API uses it' }
  }
  for (const api of apis) {
    if (!usedApis.has(api)) yield { path: `apis.${api.name}`, message: 'no route uses it' }
  }
}

/** Profiles whose issuers name no introspection endpoint in their published metadata. */
const WITHOUT_INTROSPECTION: ReadonlySet<ProfileName> = new Set(['auth0', 'auth0-legacy', 'entra'])

function* aboutIntrospection({ apis }: Config): Iterable<Advice> {
  for (const { name, issuer, introspection } of apis) {
    if (!introspection || issuer.introspectionEndpoint !== undefined) continue
    if (!WITHOUT_INTROSPECTION.has(issuer.profile)) continue
    yield {
      path: `apis.${name}.introspection`,
      message: `no issuer with the profile ${issuer.profile} answers questions about tokens: opaque ones will be 503`,
    }
  }
}

function* aboutKeys({ apis, routes, server }: Config): Iterable<Advice> {
  const processes = processesOf(server)
  if (processes === 1) return
  for (const api of apis) {
    if (api.client?.dpopKey !== undefined || !binds(api, 'dpop', routes)) continue
    yield {
      path: `apis.${api.name}.client.dpopKey`,
      message:
        `is not given: each of the ${processes} processes makes a key of its own, and none can use a token that another ` +
        'has',
    }
  }
}

function* aboutPossession({ apis, server: { tls, trustedProxies } }: Config): Iterable<Advice> {
  if (tls?.clientCertificates === 'request' || trustedProxies.length > 0) return
  for (const { name, proofOfPossession } of apis) {
    if (proofOfPossession?.mechanism !== 'mtls') continue
    yield {
      path: `apis.${name}.proofOfPossession`,
      message:
        'nobody can show a certificate: give `server.tls` with `clientCertificates: request`, or the proxy in ' +
        '`server.trustedProxies` that tells it. In an Express application behind its own TLS this does not matter',
    }
  }
}

function* aboutRoutes({ routes }: Config): Iterable<Advice> {
  const byPath = new Map<string, Route[]>()
  for (const route of routes) {
    byPath.set(route.match.path, [...(byPath.get(route.match.path) ?? []), route])
  }
  for (const [index, route] of routes.entries()) {
    const { match, authorize, exchange } = route
    const path = `routes[${index}]`
    if (asksForNothing(authorize)) {
      yield { path: `${path}.authorize`, message: 'asks for nothing: any token of the API will do' }
    }
    const lookalike = match.path.split('/').find((segment) => /^(?:\*+|:\w+)$/.test(segment))
    if (lookalike !== undefined) {
      yield {
        path: `${path}.match.path`,
        message:
          `takes \`${lookalike}\` as it stands: a path holds all that is below it, and any one segment is written ` +
          '`{name}`',
      }
    }
    yield* aboutExchange(exchange, `${path}.exchange`)
    yield* aboutIgnored(route, `${path}.exchange.ignoreClaims`)
    for (const outer of prefixes(match.path).flatMap((prefix) => byPath.get(prefix) ?? [])) {
      if (!shareUpstream(route, outer) || !isWeaker(authorize, outer.authorize)) continue
      yield {
        path: `${path}.authorize`,
        message:
          `asks for less than route \`${outer.name}\` (${outer.match.path}), which holds its path and has the same ` +
          'upstream: an upstream that reads paths differently would serve one for the other',
      }
    }
  }
}

function shareUpstream({ proxy }: Route, other: Route): boolean {
  return proxy.upstreams.some(({ url }) => other.proxy.upstreams.some((one) => one.url === url))
}

function* aboutExchange(exchange: Route['exchange'], path: string): Iterable<Advice> {
  const { grant, scopes, audience, resource, expectAudience } = exchange
  if (grant === 'none') return
  if (grant === 'passthrough') {
    if (expectAudience !== undefined) return
    yield {
      path: `${path}.expectAudience`,
      message: "is not given: the upstream gets the caller's token whether or not it is for it",
    }
    return
  }
  if (isEmpty(scopes)) {
    yield {
      path: `${path}.scopes`,
      message: 'asks for none: the scopes of issued tokens are not checked',
    }
  }
  if ((expectAudience ?? audience ?? resource) === undefined) {
    yield {
      path: `${path}.expectAudience`,
      message: 'is not given: the audience of issued tokens is not checked',
    }
  }
}

/** A route judges these claims, but the cache ignores them: callers would share the token of the first of them. */
function* aboutIgnored({ authorize, exchange }: Route, path: string): Iterable<Advice> {
  const judged = claimsJudged(authorize)
  for (const [index, name] of exchange.ignoreClaims.entries()) {
    if (!judged.has(name)) continue
    yield {
      path: `${path}[${index}]`,
      message: `\`${name}\` decides what a token may do here, and yet tokens that differ in it share one issued token`,
    }
  }
}

function isEmpty(list: readonly unknown[]): boolean {
  return list.length === 0
}

/** `/a/b/c` is held by `/`, `/a` and `/a/b`. */
function prefixes(path: string): readonly string[] {
  const ends = [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index) || '/')
  return ends.filter((prefix) => prefix !== path)
}

function* aboutProxies({ server, endpoints: { forwardAuth } }: Config): Iterable<Advice> {
  yield* aboutTrusted(
    server.trustedProxies,
    'server',
    'any caller can name any client address and any certificate',
  )
  yield* aboutTrusted(
    forwardAuth?.trustedProxies ?? [],
    'endpoints.forwardAuth',
    'whoever has an access token is given the issued one, and may name any request',
  )
}

function* aboutTrusted(networks: readonly string[], of: string, so: string): Iterable<Advice> {
  for (const [index, network] of networks.entries()) {
    if (!network.endsWith('/0')) continue
    yield { path: `${of}.trustedProxies[${index}]`, message: `trusts everybody: ${so}` }
  }
}

import type { ServerResponse } from 'node:http'
import helmet from 'helmet'
import type { Api, Config, Route } from '../config/config.ts'
import { errorAnswer, GatewayError } from '../errors.ts'
import { type Gateway, Journey, type MountedRequest } from '../gateway.ts'
import { linger } from '../proxy/caller.ts'

export interface PublishingOptions {
  /** Called for every request that is answered here. */
  readonly record: (journey: Journey) => void
}

/** All metadata documents are at this path or below it. */
const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/**
 * Serves the metadata of each API that has a `resource` (RFC 9728) to everybody, without a token, and leaves all other
 * requests to the gateway. A document is found by its path alone; where two origins have one at the same path, `Host`
 * decides. Does NOT sign the metadata (`signed_metadata`).
 *
 * A gateway that is mounted below a path does not serve them: Express passes it no request for the well-known path.
 */
export function publishing(gateway: Gateway, config: Config, options: PublishingOptions): Gateway {
  const documents = documentsOf(config)
  if (documents.length === 0) return gateway
  const find = (request: MountedRequest): Document | undefined => {
    const target = request.originalUrl ?? request.url ?? ''
    if (!target.startsWith(WELL_KNOWN)) return undefined
    const [path] = target.split('?', 1)
    const found = documents.filter((one) => one.path === path)
    return found.length > 1 ? found.find((one) => one.host === request.headers.host) : found[0]
  }
  return (request, response) => {
    const document = find(request)
    if (document === undefined) return gateway(request, response)
    const journey = new Journey(request, response)
    const target = { path: document.path, query: '' }
    const { method = '', headers } = request
    journey.asked = { method, host: headers.host, target, inner: target }
    answer(journey, document)
    options.record(journey)
    return Promise.resolve()
  }
}

interface Document {
  readonly host: string
  readonly path: string
  readonly body: string
}

function documentsOf({ apis, routes }: Config): readonly Document[] {
  return apis.flatMap((api) => {
    if (api.resource === undefined) return []
    const { host, pathname } = new URL(api.resource.metadataUri)
    return [{ host, path: pathname, body: `${JSON.stringify(metadataOf(api, routes), null, 2)}\n` }]
  })
}

/** RFC 9728, section 2. `JSON.stringify` leaves out members that are undefined. Pure. */
export function metadataOf(api: Api, routes: readonly Route[]): object {
  const scopes = api.resource?.scopesSupported ?? scopesAskedOf(api, routes)
  return {
    // Section 3.3: clients discard the document unless this is identical to the identifier that its address was made from.
    resource: api.resource?.identifier,
    authorization_servers: api.issuer.identifiers,
    // Section 3.2: members with no elements are left out.
    scopes_supported: scopes.length === 0 ? undefined : scopes,
    bearer_methods_supported: ['header'],
    ...possessionOf(api),
  }
}

function possessionOf({ proofOfPossession: possession }: Api): object {
  if (possession === undefined) return {}
  if (possession.mechanism === 'mtls') return { tls_client_certificate_bound_access_tokens: true }
  return {
    dpop_signing_alg_values_supported: possession.algorithms,
    // True only where every caller needs a bound token: exempt clients may come without one.
    dpop_bound_access_tokens_required: possession.required && possession.exempt.size === 0,
  }
}

function scopesAskedOf(api: Api, routes: readonly Route[]): readonly string[] {
  const own = routes.filter(({ authenticate: { apis } }) => apis.includes(api))
  const asked = own.flatMap(({ authorize: { scopes, anyScope } }) => [...scopes, ...anyScope])
  return [...new Set(asked)].sort()
}

// The pages that read it have another origin.
const hardened = helmet({ crossOriginResourcePolicy: { policy: 'cross-origin' } })
const ALLOWED = ['GET', 'HEAD', 'OPTIONS']
const FRESH_FOR_SECONDS = 600

function answer(journey: Journey, { body }: Document): void {
  const { request, response, id } = journey
  hardened(request, response, () => undefined)
  response.setHeader('x-request-id', id)
  // The document is the same for everybody, so every page may read it.
  response.setHeader('access-control-allow-origin', '*')
  if (hasBody(request)) {
    // The body is not read here, and must not be read as the next request.
    response.shouldKeepAlive = false
    linger(request)
  }
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      sendDocument(response, body, request.method === 'HEAD')
      return
    case 'OPTIONS':
      preflight(response)
      return
    default:
      journey.failure = refuse(journey)
  }
}

function hasBody({ headers }: MountedRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function sendDocument(response: ServerResponse, body: string, headOnly: boolean): void {
  response.writeHead(200, {
    'content-type': 'application/json',
    'cache-control': `public, max-age=${FRESH_FOR_SECONDS}`,
    'content-length': Buffer.byteLength(body),
  })
  response.end(headOnly ? undefined : body)
}

/** Answers what a browser asks first where the page adds headers of its own. */
function preflight(response: ServerResponse): void {
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, HEAD',
    'access-control-allow-headers': '*',
    'access-control-max-age': String(FRESH_FOR_SECONDS),
  })
  response.end()
}

function refuse({ response, id }: Journey): GatewayError {
  const refusal = new GatewayError('method_not_allowed', 'metadata can be read, and nothing else', {
    allow: ALLOWED,
  })
  const { status, headers, body } = errorAnswer(refusal, id)
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body)
  return refusal
}

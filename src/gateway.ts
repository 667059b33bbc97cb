import type { IncomingMessage, ServerResponse } from 'node:http'
import helmet from 'helmet'
import type { Authenticate, SubjectToken } from './authenticate/authenticate.ts'
import { credentials, type Credentials, type Presented } from './authenticate/bearer.ts'
import { broughtRefreshToken } from './authenticate/brought.ts'
import type { CertificateOf } from './authenticate/mtls.ts'
import type { OriginsOf } from './authenticate/origins.ts'
import { authorize } from './authorize/authorize.ts'
import type { Api, Route } from './config/config.ts'
import { asGatewayError, errorAnswer, GatewayError, type Protection } from './errors.ts'
import type { Ask, Exchange, ExchangeOutcome, Succession } from './exchange/exchange.ts'
import type { IssuedToken } from './exchange/issued.ts'
import type { AddressOf } from './proxy/address.ts'
import { CallerGone, linger } from './proxy/caller.ts'
import type { Passage } from './proxy/passage.ts'
import type { Proxy } from './proxy/proxy.ts'
import { received, type Received } from './proxy/received.ts'
import type { Match } from './route/match.ts'
import { canonicalTarget, type Target } from './route/target.ts'

/** The steps that `createGateway` is given. `authorize` is not among them: it is pure, and cannot be replaced. */
export interface Stages {
  readonly match: Match
  readonly authenticate: Authenticate
  readonly exchange: Exchange
  readonly proxy: Proxy
}

export interface GatewayOptions {
  /** Finds the origins that a caller can have reached the gateway by (`server.publicOrigin`), for proofs. */
  readonly originsOf: OriginsOf
  /** Finds the certificate of a caller, for the tokens that are bound to one. */
  readonly certificateOf: CertificateOf
  /** Finds the address of a caller, for the routes that count by it. */
  readonly addressOf?: AddressOf
  /** Reads what a request asks for. */
  readonly door: Door
  /** Renders a failure for the callers of this door. Default: `application/problem+json`. */
  readonly render?: typeof errorAnswer
  /** Limits the requests in flight. Default: no limit. */
  readonly admission?: Admission
  /** Called once for every request when it has ended, answered or not. */
  readonly record: (journey: Journey) => void
}

/** Refuses requests beyond the limits on what is in flight. */
export interface Admission {
  /** @throws {GatewayError} `overloaded` */
  enter(route: Route): void
  /** Called once for each request that was let in, when it has ended. */
  leave(route: Route): void
}

/** What a request asks for. */
export interface Asked {
  readonly method: string
  readonly host: string | undefined
  /** The target as the caller sees it: DPoP proofs name this one. */
  readonly target: Target
  /** The target that is matched and forwarded. */
  readonly inner: Target
  /** Given by doors whose credentials are not in the request's own headers. */
  readonly credentials?: Credentials
}

/**
 * One way in to the path, which is the same behind every door.
 *
 * @throws {GatewayError} the request does not say clearly what it asks for
 */
export type Door = (request: MountedRequest) => Asked

/** Answers every request itself: Express's `next` is never called. */
export type Gateway = (request: MountedRequest, response: ServerResponse) => Promise<void>

/** Express adds these where a middleware is mounted. */
export type MountedRequest = IncomingMessage & {
  readonly originalUrl?: string
  readonly baseUrl?: string
}

/** The path of a request. Each step needs what the one above it returned, so that none can be skipped. */
export function createGateway(stages: Stages, options: GatewayOptions): Gateway {
  const { match, authenticate, exchange, proxy } = stages
  const { door, admission, record, render = errorAnswer } = options

  return async function behalf(request, response) {
    const journey = new Journey(request, response)
    try {
      const asked = (journey.asked = door(request))

      const route = (journey.route = match(asked.method, asked.host, asked.inner))
      admission?.enter(route)
      journey.admitted = route
      // A request that two servers could read differently is refused before an exchange is spent on it.
      journey.head = received(request, route)
      const presented = present(request, asked, options)
      const subject = (journey.subject = await authenticate(presented, route))
      const permit = authorize(subject, route)
      journey.exchangeAt = performance.now()
      const token = await exchange(permit, journey)
      journey.proxyAt = performance.now()
      const outcome = await proxy(journey, route, token)
      if (outcome === 'answered') return

      // The upstream refused our token, which its issuer may have revoked. Get another, and send again if that is safe.
      journey.instead = token
      const another = await exchange(permit, journey)
      if (isReplayable(request) && (await proxy(journey, route, another)) === 'answered') return
      throw new GatewayError('upstream_rejected_token', 'the upstream refused the issued token')
    } catch (error) {
      journey.failure = blamed(error, journey)
      respondWithError(journey, journey.failure, render)
    } finally {
      if (journey.admitted !== undefined) admission?.leave(journey.admitted)
      record(journey)
    }
  }
}

/** A safe method (RFC 9110, section 9.2.1) without a body: sending it twice does no harm, and no body has been used up. */
function isReplayable({ method, headers }: IncomingMessage): boolean {
  const isSafe = method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
  return (
    isSafe &&
    headers['transfer-encoding'] === undefined &&
    !(Number(headers['content-length'] ?? 0) > 0)
  )
}

function present(
  request: IncomingMessage,
  { method, host, target, credentials: given }: Asked,
  { originsOf, certificateOf, addressOf }: GatewayOptions,
): Presented {
  const { scheme, token, proof } = given ?? credentials(request.rawHeaders, target.query)
  return {
    method,
    origins: scheme === 'DPoP' ? originsOf(request, host) : NO_ORIGINS,
    target: target.path,
    scheme,
    token,
    proof,
    request,
    certificate: () => certificateOf(request),
    address: addressOf && (() => addressOf(request)),
  }
}

/** Only a proof names the origin that the request came by: without one, none has to be found. */
const NO_ORIGINS: readonly string[] = []

/**
 * The door of the reverse proxy and of the middleware: a request asks for itself.
 *
 * @param mountPath the path that the gateway is mounted below, as it was given to Express; empty at the root
 */
export function proxyDoor(mountPath: () => string): Door {
  return (request) => {
    const { method = '', headers, originalUrl, url = '' } = request
    const target = canonicalTarget(originalUrl ?? url, headers)
    return { method, host: headers.host, target, inner: belowMount(target, request, mountPath()) }
  }
}

/**
 * What is matched and forwarded where the gateway is mounted below a path. Express compares mount paths without case, and
 * another middleware may have rewritten `url`: the original target must be the mount path and `url`, byte for byte.
 */
function belowMount(target: Target, request: MountedRequest, mount: string): Target {
  const { originalUrl, url, baseUrl = '' } = request
  if (originalUrl === undefined || (baseUrl === '' && mount === '' && originalUrl === url))
    return target
  if (baseUrl !== mount || originalUrl !== baseUrl + url) {
    throw new GatewayError('invalid_request_target', 'the target is not below the mounted path')
  }
  return { path: target.path.slice(baseUrl.length), query: target.query }
}

/**
 * One request on its way: what each step found out about it, for the later steps and for the record. Times are those of
 * `performance.now()`.
 */
export class Journey implements Ask, Passage {
  readonly request: MountedRequest
  readonly response: ServerResponse
  readonly id: string
  readonly startedAt = performance.now()
  exchangeAt: number | undefined
  proxyAt: number | undefined
  asked: Asked | undefined
  head: Received | undefined
  route: Route | undefined
  /** Set once `admission` has let the request in: its `leave` is then called with this route. */
  admitted: Route | undefined
  subject: SubjectToken | undefined
  outcome: ExchangeOutcome | undefined
  instead: IssuedToken | undefined
  succession: Succession | undefined
  challenge: GatewayError | undefined
  asksForMore: Ask['asksForMore']
  failure: unknown
  #controller: AbortController | undefined

  constructor(request: MountedRequest, response: ServerResponse) {
    this.request = request
    this.response = response
    this.id = nextRequestId()
  }

  get method(): string {
    return this.asked?.method ?? this.request.method ?? ''
  }

  get target(): Target {
    return this.asked?.inner ?? NOWHERE
  }

  get refreshToken(): string | undefined {
    const exchange = this.route?.exchange
    if (exchange?.grant !== 'refresh-token') return undefined
    return broughtRefreshToken(this.request.rawHeaders, exchange.refreshTokenHeader)
  }

  get deadline(): number {
    return Date.now() + (this.route?.exchange.timeoutMs ?? 0)
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = (this.#controller = new AbortController())
      const gone = (): void => controller.abort(new CallerGone())
      if (this.response.closed || this.response.destroyed) gone()
      else this.response.once('close', gone)
    }
    return this.#controller.signal
  }
}

/** Where the upstream said what the user can do, its challenge tells the caller more than `upstream_rejected_token`. */
function blamed(error: unknown, { challenge, asksForMore }: Journey): unknown {
  const rejected = error instanceof GatewayError && error.code === 'upstream_rejected_token'
  if (!rejected || challenge === undefined) return error
  asksForMore?.(challenge)
  return challenge
}

const NOWHERE: Target = { path: '', query: '' }

// The first part of an id is unique across replicas and restarts, the second within the process.
const processId = crypto.randomUUID().replaceAll('-', '').slice(0, 16)
let requests = 0

/** For `X-Request-Id`, `request_id` and the log. A caller's own `X-Request-Id` is not adopted. */
export function nextRequestId(): string {
  return `${processId}-${(++requests).toString(36)}`
}

const hardened = helmet()

/** The one place where a failure becomes an answer. */
function respondWithError(journey: Journey, error: unknown, render: typeof errorAnswer): void {
  const { request, response, id } = journey
  if (error instanceof CallerGone || response.destroyed) return
  if (response.headersSent) {
    // A caller must not take half an answer for a whole one.
    response.destroy()
    return
  }
  const { status, headers, body } = render(asGatewayError(error), id, protectionsOf(journey))
  hardened(request, response, () => undefined)
  if (request.headers.expect !== undefined) {
    // The caller may still send its body (RFC 9110, section 10.1.1), which must not be read as the next request.
    response.shouldKeepAlive = false
  } else if (!request.complete) {
    linger(request)
  }
  const successor = journey.succession?.successor
  response.writeHead(status, {
    ...headers,
    ...(successor !== undefined && { [journey.succession!.header]: successor }),
    'x-request-id': id,
    'content-length': Buffer.byteLength(body),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** The challenges of the API that the token was for; until that is known, those of every API of the route. */
function protectionsOf({ request, route, subject }: Journey): readonly Protection[] | undefined {
  const apis = subject === undefined ? route?.authenticate.apis : [subject.api]
  const tried = /^dpop /i.test(request.headers.authorization ?? '') ? 'DPoP' : 'Bearer'
  return apis?.map((api) => protectionOf(api, tried))
}

function protectionOf(
  { resource, proofOfPossession: possession }: Api,
  tried: Protection['tried'],
): Protection {
  const metadataUri = resource?.metadataUri
  if (possession?.mechanism !== 'dpop') return { schemes: ['Bearer'], tried, metadataUri }
  const always = possession.required && possession.exempt.size === 0
  return {
    schemes: always ? ['DPoP'] : ['Bearer', 'DPoP'],
    tried,
    proofAlgorithms: possession.algorithms,
    metadataUri,
  }
}

import express, { type ErrorRequestHandler, type Express } from 'express'
import type { AssertionUse } from '../authenticate/assertion.ts'
import type { Authenticate } from '../authenticate/authenticate.ts'
import type { Credentials } from '../authenticate/bearer.ts'
import type { Client, Route, TokenEndpointConfig } from '../config/config.ts'
import { type ErrorAnswer, type ErrorCode, errorAnswer, GatewayError } from '../errors.ts'
import type { IssuedToken } from '../exchange/issued.ts'
import {
  createGateway,
  type Door,
  type Gateway,
  type GatewayOptions,
  type Journey,
  type MountedRequest,
  nextRequestId,
  type Stages,
} from '../gateway.ts'
import type { ReplayStore } from '../store/replay.ts'
import { useUp } from './client-assertion.ts'
import { answering, assertHandable } from './handed.ts'
import { createAuthenticateClient } from './token-client.ts'
import { readForm, refuse, TokenRefusal, type TokenForm } from './token-form.ts'

export interface TokenEndpointOptions extends Omit<GatewayOptions, 'door' | 'render'> {
  readonly endpoint: TokenEndpointConfig
  /** The `aud` of clients' assertions is one of these, as it is or with the path of the endpoint. */
  readonly publicOrigins: readonly string[]
  /** Remembers the assertions that were used. */
  readonly replays: ReplayStore
}

const PATH = '/token'
const LARGEST_FORM = '64kb'
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const TOKEN_TYPES = [ACCESS_TOKEN, 'urn:ietf:params:oauth:token-type:jwt']

/**
 * The door for services that only want the issued token: a token endpoint (RFC 8693, section 2). Its requests take the same
 * path as all others, with the same cache and budget. `audience` and `resource` select one of the routes that are listed, or
 * `route` names it. Callers authenticate as the client of the route's API (RFC 6749, section 2.3.1; RFC 7523, section 2.2).
 * Does NOT take actor tokens, give a scope that the route does not ask for, or hand out bound tokens.
 */
export function createTokenEndpoint(
  { authenticate, exchange }: Omit<Stages, 'proxy' | 'match'>,
  { endpoint, publicOrigins, replays, ...options }: TokenEndpointOptions,
): Gateway {
  const routes = new Map(endpoint.routes.map((route) => [route.name, route]))
  const audiences = publicOrigins.flatMap((origin) => [origin, origin + PATH])
  const authenticateClient =
    endpoint.clients === 'none' ? undefined : createAuthenticateClient(endpoint, audiences)
  const uses = new WeakMap<object, AssertionUse>()
  const door: Door = (request) => {
    const form = readForm(bodyOf(request))
    const known = authenticateClient?.(request, form)
    const route = selected(form, endpoint.routes)
    if (known !== undefined && !isOf(route, known.clients)) {
      refuse('unauthorized_client', 'the route is for tokens of another client')
    }
    if (known?.use !== undefined) uses.set(request, known.use)
    assertScopes(form, route)
    return {
      method: 'POST',
      host: request.headers.host,
      // Proofs name the address of the endpoint, whatever the route.
      target: { path: PATH, query: '' },
      inner: { path: route.name, query: '' },
      credentials: presentedBy(request, form),
    }
  }
  return createGateway(
    {
      match(_method, _host, { path }) {
        const route = routes.get(path)
        if (route === undefined) throw new TypeError(`no route is named ${path}`)
        assertHandable(route)
        return route
      },
      authenticate: usingUp(authenticate, uses, replays),
      exchange,
      proxy: (journey, _route, token) => answer(journey as Journey, token),
    },
    { ...options, door, render },
  )
}

/**
 * Uses assertions up: each is good once. That comes last, when the rest of the request is good, because a caller that is
 * told to use a nonce sends the same form again with another proof (RFC 9449, section 8).
 */
function usingUp(
  authenticate: Authenticate,
  uses: WeakMap<object, AssertionUse>,
  replays: ReplayStore,
): Authenticate {
  return (presented, route) => {
    const use = presented.request && uses.get(presented.request)
    if (use === undefined) return authenticate(presented, route)
    return (async () => {
      const subject = await authenticate(presented, route)
      await useUp(use, replays)
      return subject
    })()
  }
}

/** Adds the endpoint to an application, at its path. The form is read whole before the endpoint is called. */
export function addTokenEndpoint(app: Express, endpoint: Gateway): void {
  const parse = express.text({ limit: LARGEST_FORM, type: 'application/x-www-form-urlencoded' })
  app.post(PATH, parse, (request, response) => void endpoint(request, response))
  app.use((_request, response) => void response.status(404).end())
  app.use(unread)
}

function bodyOf(request: MountedRequest & { readonly body?: unknown }): string {
  const { body } = request
  return typeof body === 'string'
    ? body
    : refuse('invalid_request', 'the body must be application/x-www-form-urlencoded')
}

/** The parameters of RFC 8693, section 2.1, that do not depend on the route. */
function presentedBy({ headers }: MountedRequest, form: TokenForm): Credentials {
  if (form.required('grant_type') !== TOKEN_EXCHANGE) {
    refuse('unsupported_grant_type', `the only grant here is ${TOKEN_EXCHANGE}`)
  }
  if (!TOKEN_TYPES.includes(form.required('subject_token_type'))) {
    refuse('invalid_request', 'the subject token must be an access token')
  }
  if (!TOKEN_TYPES.includes(form.get('requested_token_type') ?? ACCESS_TOKEN)) {
    refuse('invalid_request', 'only access tokens are issued here')
  }
  if (form.get('actor_token') !== undefined || form.get('actor_token_type') !== undefined) {
    refuse('invalid_request', 'actor tokens are not taken: the gateway acts for itself')
  }
  const token = form.required('subject_token')
  // Node joins several lines by commas, which no proof contains: two proofs are refused.
  const { dpop } = headers
  const proof = Array.isArray(dpop) ? dpop.join(', ') : dpop
  return { scheme: proof === undefined ? 'Bearer' : 'DPoP', token, proof }
}

/** RFC 8707, section 2: a form that selects no route, or more than one, is `invalid_target`. */
function selected(form: TokenForm, routes: readonly Route[]): Route {
  const name = form.get('route')
  const audience = form.all('audience')
  const resource = form.all('resource')
  const found = routes.filter(
    ({ name: own, exchange }) =>
      (name === undefined || name === own) &&
      (audience.length === 0 || isSame(audience, exchange.audience)) &&
      (resource.length === 0 || isSame(resource, exchange.resource)),
  )
  const [route] = found
  if (route === undefined) refuse('invalid_target', 'no route is for this target')
  if (found.length > 1) {
    refuse('invalid_target', 'several routes are for this target: name one by `route`')
  }
  return route
}

function isSame(asked: readonly string[], configured: string | readonly string[] = []): boolean {
  const own = new Set([configured].flat())
  return asked.length === own.size && asked.every((one) => own.has(one))
}

function assertScopes(form: TokenForm, { exchange }: Route): void {
  const asked = form.get('scope')?.split(' ') ?? []
  if (!asked.every((scope) => exchange.scopes.includes(scope))) {
    refuse('invalid_scope', "these scopes are not within the route's")
  }
}

/** Whether the client is that of every API of the route: the subject token may be for any of them. */
function isOf({ authenticate: { apis } }: Route, clients: readonly Client[]): boolean {
  return apis.every(({ client }) => client !== undefined && clients.includes(client))
}

/** RFC 8693, section 2.2.1. */
function answer({ response, id }: Journey, token: IssuedToken): Promise<'answered'> {
  const left = Math.floor((token.expiresAt - Date.now()) / 1_000)
  const body = JSON.stringify({
    access_token: token.value,
    issued_token_type: ACCESS_TOKEN,
    token_type: token.scheme,
    ...(left > 0 && { expires_in: left }),
    ...(token.scopes.length > 0 && { scope: token.scopes.join(' ') }),
  })
  return answering(response, () => {
    response.writeHead(200, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'content-length': Buffer.byteLength(body),
      'x-request-id': id,
    })
    response.end(body)
  })
}

/**
 * RFC 6749, section 5.2. A subject token that is invalid or not sufficient is `invalid_request` (RFC 8693, section 2.2.2);
 * `code` is more precise.
 */
function render(error: GatewayError, id: string): ErrorAnswer {
  const { status, headers } = errorAnswer(error, id)
  const { 'www-authenticate': _, ...others } = headers
  const refused = error instanceof TokenRefusal
  const name = refused
    ? error.error
    : (NAMES[error.code] ?? (status >= 500 ? 'server_error' : 'invalid_request'))
  const body = { error: name, error_description: error.message, code: error.code, request_id: id }
  const unauthenticated = name === 'invalid_client'
  return {
    status: unauthenticated ? 401 : status < 500 && !OWN_STATUS.has(status) ? 400 : status,
    headers: {
      ...others,
      'content-type': 'application/json',
      ...(unauthenticated && { 'www-authenticate': 'Basic realm="behalf"' }),
    },
    body: `${JSON.stringify(body)}\n`,
  }
}

/** Statuses that are kept: they are about the request alone. */
const OWN_STATUS: ReadonlySet<number> = new Set([413, 429])

const NAMES: Partial<Record<ErrorCode, string>> = {
  invalid_dpop_proof: 'invalid_dpop_proof',
  use_dpop_nonce: 'use_dpop_nonce',
  keys_unavailable: 'temporarily_unavailable',
  exchange_unavailable: 'temporarily_unavailable',
  replay_store_unavailable: 'temporarily_unavailable',
  overloaded: 'temporarily_unavailable',
  rate_limited: 'temporarily_unavailable',
}

/** Answers what the parser throws: the form is too large, or no text. */
const unread: ErrorRequestHandler = (cause, _request, response, _next) => {
  const tooLarge = (cause as { readonly status?: unknown }).status === 413
  const refusal = new GatewayError(
    tooLarge ? 'content_too_large' : 'invalid_request',
    'the form cannot be read',
  )
  const { status, headers, body } = render(refusal, nextRequestId())
  response.status(status).set(headers).send(body)
}

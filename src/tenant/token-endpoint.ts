import express, {
  type ErrorRequestHandler,
  type Request,
  type RequestHandler,
  type Response,
  type Router,
} from 'express'
import type { Grant, TokenAnswer } from './answer.ts'
import type { AuthenticateClient } from './client-authentication.ts'
import type { Dpop } from './dpop.ts'
import type { Fault, Faults } from './faults.ts'
import type { Faulty } from './faulty.ts'
import { readForm } from './form.ts'
import { TOKEN_EXCHANGE } from './grants/token-exchange.ts'
import type { Limiter } from './limiter.ts'
import { Refusal } from './refusal.ts'
import type { Client } from './client.ts'

export type Grants = Readonly<Record<string, Grant>>

/** One request for a token, as it ended. */
export interface TokenRequest {
  readonly grantType: string | undefined
  readonly clientId: string | undefined
  /** `ok`, or the error that was answered. */
  readonly outcome: string
}

export interface TokenEndpointOptions {
  readonly authenticateClient: AuthenticateClient
  /** By `grant_type`. */
  readonly grants: Grants
  readonly dpop: Dpop
  /** The limit of exchanges; counts a request before it is handled. Absent: no limit. */
  readonly limiter: Limiter | undefined
  /** Applied after the limiter: requests beyond the limit use no fault up. */
  readonly faults: Faults
  readonly faulty: Faulty
  /** Called for every request, after it was handled and before it is answered. */
  readonly record: (request: TokenRequest) => void
}

const LARGEST_BODY = '64kb'

/** `POST /oauth/token` (RFC 6749, section 3.2), for forms and, as at Auth0, for JSON. */
export function createTokenEndpoint(options: TokenEndpointOptions): Router {
  const router = express.Router()
  router.use(
    neverStored,
    express.urlencoded({ extended: false, limit: LARGEST_BODY }),
    express.json({ limit: LARGEST_BODY }),
  )
  router.post('/', answerWithToken(options))
  router.use(answerWithError)
  return router
}

/** RFC 6749, section 5.1. */
const neverStored: RequestHandler = (_request, response, next) => {
  response.set({ 'cache-control': 'no-store', pragma: 'no-cache' })
  next()
}

function answerWithToken(options: TokenEndpointOptions): RequestHandler {
  const { faulty } = options
  return async (request, response) => {
    const passage: Passage = { request, response, fault: undefined }
    let answer: TokenAnswer
    try {
      answer = await judge(passage, options)
    } finally {
      await faulty.hold(passage.fault, response)
    }
    faulty.send(passage.fault, response, answer)
  }
}

interface Passage {
  readonly request: Request
  readonly response: Response
  fault: Fault | undefined
}

/** Handles the request, and records its outcome, granted or refused. */
async function judge(passage: Passage, options: TokenEndpointOptions): Promise<TokenAnswer> {
  const { authenticateClient, grants, dpop, limiter, faults, faulty, record } = options
  const { request, response } = passage
  let grantType: string | undefined
  let clientId: string | undefined
  let outcome = 'server_error'
  try {
    const form = readForm(request.body)
    grantType = form.required('grant_type')
    if (grantType === TOKEN_EXCHANGE) admit(limiter, response)
    passage.fault = faults.take(grantType)
    faulty.refuse(passage.fault, response)
    const client = await authenticateClient(form, request.get('authorization'))
    clientId = client.client_id
    const grant = grantFor(grants, grantType, client)
    const header = faulty.overlook(passage.fault, request.get('dpop'))
    const nonce = header === undefined ? undefined : dpop.nonce()
    if (nonce !== undefined) response.set('dpop-nonce', nonce)
    const proof = await dpop.verify(header)
    const answer = await faulty.forge(passage.fault, await grant(form, client, proof))
    outcome = 'ok'
    return answer
  } catch (error) {
    if (error instanceof Refusal) outcome = error.error
    throw error
  } finally {
    record({ grantType, clientId, outcome })
  }
}

/** @throws {Refusal} `too_many_requests`, with headers that say when to come back */
function admit(limiter: Limiter | undefined, response: Response): void {
  if (limiter === undefined) return
  const { allowed, headers } = limiter.take()
  response.set(headers)
  if (!allowed) throw new Refusal('too_many_requests', 'Global limit has been reached')
}

/** @throws {Refusal} `unsupported_grant_type`, `unauthorized_client` */
function grantFor(grants: Grants, grantType: string, client: Client): Grant {
  const grant = Object.hasOwn(grants, grantType) ? grants[grantType] : undefined
  if (grant === undefined) {
    throw new Refusal('unsupported_grant_type', `Unsupported grant type: ${grantType}`)
  }
  // `token_exchange` of the client allows On-Behalf-Of, not its list of grant types.
  if (grantType !== TOKEN_EXCHANGE && !client.grant_types.includes(grantType)) {
    throw new Refusal(
      'unauthorized_client',
      `Grant type '${grantType}' not allowed for the client.`,
    )
  }
  return grant
}

const answerWithError: ErrorRequestHandler = (error: unknown, request, response, next) => {
  if (response.headersSent) {
    next(error)
    return
  }
  const { status, name, description } = describe(error)
  // RFC 6749, section 5.2: the answer to a client that used this header names the scheme that it used.
  if (status === 401 && request.get('authorization') !== undefined && name === 'invalid_client') {
    response.set('www-authenticate', 'Basic realm="tenant"')
  }
  response.status(status).json({ error: name, error_description: description })
}

interface Description {
  readonly status: number
  readonly name: string
  readonly description: string
}

function describe(error: unknown): Description {
  if (error instanceof Refusal) {
    return { status: error.status, name: error.error, description: error.message }
  }
  const status = statusOf(error)
  // Errors of the body parsers: too large, not JSON, another charset.
  if (status >= 400 && status < 500) {
    return { status, name: 'invalid_request', description: 'The body cannot be read' }
  }
  return { status: 500, name: 'server_error', description: 'The tenant failed' }
}

function statusOf(error: unknown): number {
  return error instanceof Error && 'status' in error && typeof error.status === 'number'
    ? error.status
    : 500
}

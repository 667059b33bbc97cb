import express, {
  type ErrorRequestHandler,
  type Request,
  type RequestHandler,
  type Response,
  type Router,
} from 'express'
import type { Fault, Faults } from '../faults.ts'
import type { Faulty } from '../faulty.ts'
import type { Keys } from '../keys.ts'
import { rateLimitHeaders, USUAL_MANAGEMENT_LIMIT, type Limiter } from '../limiter.ts'
import type { State } from '../state.ts'
import { createClientGrants } from './client-grants.ts'
import { createClients } from './clients.ts'
import { Failure } from './failure.ts'
import type { Generation, Kind } from './kind.ts'
import { createLag, type Lag } from './lag.ts'
import { clientOperations, operationsOf, type Answer, type Operation } from './operations.ts'
import { assertScope, createPermission, type Permission } from './permission.ts'
import { createResourceServers } from './resource-servers.ts'

export interface ManagementOptions {
  readonly state: State
  readonly issuer: string
  readonly keys: Keys
  readonly generation: Generation
  /** The limit of calls. Absent: no limit, and no headers of a limit in answers. */
  readonly limiter: Limiter | undefined
  readonly faults: Faults
  readonly faulty: Pick<Faulty, 'hold'>
  /** Called for every call, after it was handled and before it is answered. */
  readonly record: (call: ManagementCall) => void
  /** In epoch milliseconds. */
  readonly now: () => number
}

/** One call of the Management API, as it ended. */
export interface ManagementCall {
  readonly method: string
  /** With the query, and without the tenant's origin: `/api/v2/clients?page=0`. */
  readonly target: string
  /** The body as it came, with any secrets in it. */
  readonly body: unknown
  /** The status that was decided, even if a fault kept it from the caller. */
  readonly status: number
}

const LARGEST_BODY = '1mb'

/**
 * The part of Auth0's Management API v2 that an exchange needs: resource servers, clients with their credentials, and client
 * grants. Fields without an effect on an exchange are only stored and returned.
 */
export function createManagement(options: ManagementOptions): Router {
  const { state, generation, now } = options
  const clients = createClients({ state, generation, now })
  const kinds: readonly Kind[] = [
    createResourceServers(state, generation),
    clients,
    createClientGrants(state, generation),
  ]
  const operations = [
    ...kinds.flatMap(operationsOf),
    ...clientOperations(clients, (id) => state.client(id), now),
  ]
  const parts = { permission: createPermission(options), lag: createLag(kinds, now) }
  const router = express.Router()
  router.use(limit(options), express.json({ limit: LARGEST_BODY }))
  for (const operation of operations) {
    router[operation.method](`/${operation.path}`, answer(operation, parts, options))
  }
  router.use(() => {
    throw new Failure(404, 'not_found', 'Not Found')
  })
  router.use(answerWithFailure(options))
  return router
}

/** Comes before all other handlers, so that every call counts. */
function limit({ limiter }: ManagementOptions): RequestHandler {
  return (_request, response, next) => {
    if (limiter !== undefined) {
      const { allowed, headers } = limiter.take()
      response.set(headers)
      if (!allowed) tooMany()
    }
    next()
  }
}

function tooMany(): never {
  throw new Failure(429, 'too_many_requests', 'Global limit has been reached')
}

interface Parts {
  readonly permission: Permission
  readonly lag: Lag
}

function answer(operation: Operation, parts: Parts, options: ManagementOptions): RequestHandler {
  const { faults, faulty, record, now } = options
  return async (request, response) => {
    const [, kind = ''] = operation.path.match(/^([^/]+)/) ?? []
    const fault = faults.takeManagement(request.method, kind)
    refuse(fault, response, now)
    let outcome: Answer
    try {
      outcome = await judge(request, operation, parts, fault)
    } finally {
      await faulty.hold(fault, response)
    }
    record(callOf(request, outcome.status))
    send(response, outcome, fault)
  }
}

async function judge(
  request: Request,
  operation: Operation,
  { permission, lag }: Parts,
  fault: Fault | undefined,
): Promise<Answer> {
  const scopes = await permission(request.get('authorization'))
  assertScope(scopes, operation.scopes)
  const { searchParams: query } = new URL(request.originalUrl, 'http://tenant')
  const names = Object.values(request.params).map(String)
  if (operation.method !== 'get' && fault?.kind === 'stale') lag.start(fault.delayMs)
  return operation.run({ scopes, query, names, body: request.body as unknown, read: lag.read })
}

/** @throws {Failure} if the fault prevents the call from being handled */
function refuse(fault: Fault | undefined, response: Response, now: () => number): void {
  if (fault?.kind === 'too_many_requests') {
    const { resetAfterSeconds = 1, retryAfterSeconds } = fault
    const most = Number(response.get('x-ratelimit-limit') ?? USUAL_MANAGEMENT_LIMIT.burst)
    response.set(rateLimitHeaders(most, 0, now() + resetAfterSeconds * 1_000))
    if (retryAfterSeconds !== undefined) response.set('retry-after', String(retryAfterSeconds))
    tooMany()
  }
  if (fault?.kind === 'server_error') {
    throw new Failure(fault.status ?? 500, 'internal_error', 'The tenant was told to fail')
  }
  if (fault?.kind === 'conflict') {
    throw new Failure(409, 'conflict', 'The object was changed by somebody else meanwhile')
  }
}

const PAGE = '<!doctype html><title>502 Bad Gateway</title>\n<h1>502 Bad Gateway</h1>\n'

function send(response: Response, { status, body }: Answer, fault: Fault | undefined): void {
  if (fault?.kind === 'lost_answer') {
    response.socket?.destroy()
  } else if (fault?.kind === 'unsure') {
    const failure = new Failure(
      fault.status ?? 503,
      'internal_error',
      'The tenant was told to fail',
    )
    response.status(failure.status).json(failure.body())
  } else if (fault?.kind === 'garbage') {
    response.type('html').send(fault.body ?? PAGE)
  } else if (status === 204) {
    response.status(status).end()
  } else {
    response.status(status).json(body)
  }
}

function callOf({ method, originalUrl, body }: Request, status: number): ManagementCall {
  return { method, target: originalUrl, body: body as unknown, status }
}

function answerWithFailure({ record }: ManagementOptions): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    if (response.headersSent) {
      next(error)
      return
    }
    const failure = asFailure(error)
    record(callOf(request, failure.status))
    response.status(failure.status).json(failure.body())
  }
}

function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  const status = error instanceof Error && 'status' in error ? Number(error.status) : 500
  // Errors of the body parser (too large, not JSON, another charset), or of a path that cannot be decoded.
  return status >= 400 && status < 500
    ? new Failure(status, 'invalid_body', 'The body cannot be read')
    : new Failure(500, 'internal_error', 'The tenant failed')
}

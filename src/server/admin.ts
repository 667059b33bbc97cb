import { timingSafeEqual } from 'node:crypto'
import express, { type Express, type Request, type Response } from 'express'
import helmet from 'helmet'
import type { AdminConfig } from '../config/config.ts'
import { errorAnswer, GatewayError } from '../errors.ts'
import type { Purge } from '../exchange/purge.ts'
import { nextRequestId } from '../gateway.ts'
import { isAllowedHost } from './allowed-hosts.ts'
import type { Explain, Question } from './explain.ts'
import { createApp } from './listener.ts'
import type { Reload } from './reload.ts'

/** True, or why not, in words for an operator. */
export type Readiness = true | string

export interface AdminOptions {
  readonly metrics: { render(): string | Promise<string> }
  /** The configuration as it is now. Without a token there is nothing but `/livez`, `/readyz` and `/metrics`. */
  readonly admin: () => Pick<AdminConfig, 'listen' | 'token' | 'allowedHosts'>
  /** Whether new requests should come here. */
  readonly ready: () => Readiness
  /** What is wrong though requests are served, in words for an operator. */
  readonly ailments: () => readonly string[] | Promise<readonly string[]>
  readonly purge: (what: Purge) => unknown
  readonly explain: Explain
  readonly reload: Reload
}

/**
 * The operators' listener: `/livez`, `/readyz` (with `?verbose`) and `/metrics`; with a token `POST /purge`,
 * `POST /explain` and `POST /reload`. All but `/livez` and the plain `/readyz` answer only an allowed `Host`.
 */
export function createAdmin(options: AdminOptions): Express {
  const { admin, metrics, ready, ailments, purge, explain, reload } = options
  const app = createApp()
  app.use(helmet())
  app.get('/livez', (_request, response) => {
    response.type('text').send('ok\n')
  })
  app.get('/readyz', (request, response, next) => {
    if (VERBOSE.test(request.url)) return next()
    const isReady = ready() === true
    response.status(isReady ? 200 : 503).type('text')
    response.send(isReady ? 'ok\n' : 'not ready\n')
  })
  app.use((request, response, next) => {
    if (isAllowedHost(request, admin())) next()
    else refuse(response, new GatewayError('not_permitted', UNKNOWN_HOST))
  })
  app.get('/readyz', async (_request, response) => {
    const readiness = ready()
    response.status(readiness === true ? 200 : 503).type('text')
    response.send(report(readiness, await ailments()))
  })
  app.get('/metrics', async (_request, response) => {
    const text = await metrics.render()
    response.set('content-type', 'text/plain; version=0.0.4; charset=utf-8').send(text)
  })
  app.use((request, response, next) => {
    const { token: expected } = admin()
    if (expected === undefined) notFound(response)
    else if (presents(request, expected)) next()
    else refuse(response, new GatewayError('missing_token', 'this needs the admin token'))
  })
  app.post('/purge', express.json({ limit: '4kb', type: () => true }), purging(purge))
  app.post('/explain', express.json({ limit: '64kb', type: () => true }), answering(explain))
  app.post('/reload', async (_request, response) => {
    const outcome = await reload()
    response.status(RELOADED[outcome.outcome]).set('cache-control', 'no-store').json(outcome)
  })
  app.use((_request, response) => notFound(response))
  app.use(malformed)
  return app
}

const VERBOSE = /[?&]verbose(?:[=&]|$)/
/** Probes may use any host. A page whose own name leads here (DNS rebinding) learns only that something listens. */
const UNKNOWN_HOST =
  'operators do not ask by this host: `admin.allowedHosts` names those that they do'

/** RFC 9110, section 15.5.21: a configuration with faults was understood, but cannot be used. */
const RELOADED = { reloaded: 200, unchanged: 200, refused: 422, failed: 500 } as const

const PURGE_PARTS: readonly string[] = ['issuer', 'subject', 'sid', 'client']
const PURGE_FORM = `the body must be a JSON object that names at least one of ${PURGE_PARTS.join(', ')}`

function purgeOf(body: unknown): Purge | undefined {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return undefined
  const parts = Object.entries(body)
  const isPart = ([name, value]: [string, unknown]): boolean =>
    PURGE_PARTS.includes(name) && typeof value === 'string' && value !== ''
  return parts.length > 0 && parts.every(isPart) ? (body as Purge) : undefined
}

function purging(purge: AdminOptions['purge']): express.RequestHandler {
  return async (request, response) => {
    const what = purgeOf(request.body)
    if (what === undefined) {
      refuse(response, new GatewayError('invalid_request', PURGE_FORM))
      return
    }
    try {
      await purge(what)
      response.status(204).end()
    } catch (cause) {
      // A purge must reach all workers: the operator has to ask again.
      refuse(response, new GatewayError('internal_error', 'not everybody has purged', { cause }))
    }
  }
}

const EXPLAIN_FORM =
  'the body must be a JSON object of the strings method and target, and maybe host and token'

/** The question holds a token, and the answer is about one user: neither is logged or stored. */
function answering(explain: Explain): express.RequestHandler {
  return async (request, response) => {
    const question = questionOf(request.body)
    if (question === undefined) {
      refuse(response, new GatewayError('invalid_request', EXPLAIN_FORM))
      return
    }
    response.set('cache-control', 'no-store').json(await explain(question))
  }
}

const QUESTION_PARTS: readonly string[] = ['method', 'target', 'host', 'token']

function questionOf(body: unknown): Question | undefined {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return undefined
  const isPart = ([name, value]: [string, unknown]): boolean =>
    QUESTION_PARTS.includes(name) && typeof value === 'string'
  const isQuestion = 'method' in body && 'target' in body && Object.entries(body).every(isPart)
  return isQuestion ? (body as Question) : undefined
}

/** Answers what Express's parsers throw. */
const malformed: express.ErrorRequestHandler = (cause, request, response, _next) => {
  const form = request.path === '/explain' ? EXPLAIN_FORM : PURGE_FORM
  refuse(response, new GatewayError('invalid_request', form, { cause }))
}

function notFound(response: Response): void {
  response.status(404).type('text').send('not found\n')
}

function refuse(response: Response, refusal: GatewayError): void {
  const { status, headers, body } = errorAnswer(refusal, nextRequestId())
  response.status(status).set(headers).send(body)
}

function presents(request: Request, token: string): boolean {
  const presented = Buffer.from(request.headers.authorization ?? '')
  const expected = Buffer.from(`Bearer ${token}`)
  return presented.length === expected.length && timingSafeEqual(presented, expected)
}

function report(readiness: Readiness, ailments: readonly string[]): string {
  const lines = [
    '[+] configuration ok',
    readiness === true ? '[+] accepting requests' : `[-] ${readiness}`,
    ...ailments.map((ailment) => `[!] ${ailment}`),
    readiness === true ? 'ready' : 'not ready',
  ]
  return lines.join('\n') + '\n'
}

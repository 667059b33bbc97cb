import { timingSafeEqual } from 'node:crypto'
import type { Express, Request } from 'express'
import helmet from 'helmet'
import { errorAnswer, GatewayError } from '../errors.ts'
import { nextRequestId } from '../gateway.ts'
import type { Metrics } from '../metrics.ts'
import { createApp } from './listener.ts'

export interface AdminOptions {
  readonly metrics: Metrics
  /** What everything but `/livez`, `/readyz` and `/metrics` asks for; without one there is nothing else. */
  readonly token: string | undefined
  /** Whether new requests should come here. */
  readonly ready: () => boolean
  /** What is not well though requests are served, in words for an operator. */
  readonly ailments: () => readonly string[]
}

/** The operators' listener: `/livez`, `/readyz` (with `?verbose`) and `/metrics`. */
export function createAdmin({ metrics, token, ready, ailments }: AdminOptions): Express {
  const app = createApp()
  app.use(helmet())
  app.get('/livez', (_request, response) => {
    response.type('text').send('ok\n')
  })
  app.get('/readyz', (request, response) => {
    const isReady = ready()
    const verbose = /[?&]verbose(?:[=&]|$)/.test(request.url)
    response.status(isReady ? 200 : 503).type('text')
    response.send(verbose ? report(isReady, ailments()) : isReady ? 'ok\n' : 'not ready\n')
  })
  app.get('/metrics', (_request, response) => {
    response.set('content-type', 'text/plain; version=0.0.4; charset=utf-8').send(metrics.render())
  })
  app.use((request, response, next) => {
    if (token !== undefined && !presents(request, token)) {
      const refusal = new GatewayError(
        'missing_token',
        'this needs the token of the admin listener',
      )
      const { status, headers, body } = errorAnswer(refusal, nextRequestId())
      response.status(status).set(headers).send(body)
      return
    }
    next()
  })
  app.use((_request, response) => {
    response.status(404).type('text').send('not found\n')
  })
  return app
}

function presents(request: Request, token: string): boolean {
  const presented = Buffer.from(request.headers.authorization ?? '')
  const expected = Buffer.from(`Bearer ${token}`)
  return presented.length === expected.length && timingSafeEqual(presented, expected)
}

function report(isReady: boolean, ailments: readonly string[]): string {
  const lines = [
    '[+] configuration ok',
    isReady ? '[+] accepting requests' : '[-] draining',
    ...ailments.map((ailment) => `[!] ${ailment}`),
    isReady ? 'ready' : 'not ready',
  ]
  return lines.join('\n') + '\n'
}

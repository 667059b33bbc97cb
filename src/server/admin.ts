import type { Express } from 'express'
import helmet from 'helmet'
import type { Metrics } from '../metrics.ts'
import { createApp } from './listener.ts'

export interface AdminOptions {
  readonly metrics: Metrics
  /** Whether new requests should come here. */
  readonly ready: () => boolean
  /** What is not well though requests are served, in words for an operator. */
  readonly ailments: () => readonly string[]
}

/** The operators' listener: `/livez`, `/readyz` (with `?verbose`) and `/metrics`. */
export function createAdmin({ metrics, ready, ailments }: AdminOptions): Express {
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
  app.use((_request, response) => {
    response.status(404).type('text').send('not found\n')
  })
  return app
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

import express, { type ErrorRequestHandler, type RequestHandler, type Router } from 'express'
import type { Fault, Faults } from './faults.ts'
import { isLoopbackHost } from './listen.ts'

/** `POST /_tenant/faults` adds one fault, given as JSON; `DELETE` clears them all. For callers on loopback only. */
export function createFaultsEndpoint(faults: Faults): Router {
  const router = express.Router()
  router.use(refuseElsewhere, express.json({ limit: '16kb' }))
  router.post('/', (request, response) => {
    faults.add(request.body as Fault)
    response.status(201).json(request.body)
  })
  router.delete('/', (_request, response) => {
    faults.clear()
    response.status(204).end()
  })
  router.use(answerWithError)
  return router
}

/**
 * The listener is on loopback anyway. A page in a browser of this machine could still call it by a name of its own that
 * resolves to loopback (DNS rebinding): its Host is refused. A form that such a page submits to this address is not JSON.
 */
const refuseElsewhere: RequestHandler = ({ headers: { host = '' } }, response, next) => {
  if (isLoopbackHost(host)) next()
  else response.status(403).json({ error: 'access_denied', error_description: 'Loopback only' })
}

const answerWithError: ErrorRequestHandler = (error: Error, _request, response, _next) => {
  const error_description = error instanceof TypeError ? error.message : 'The body cannot be read'
  response.status(400).json({ error: 'invalid_request', error_description })
}

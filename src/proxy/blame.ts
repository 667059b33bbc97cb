import { GatewayError } from '../errors.ts'
import type { Upload } from './upload.ts'

/** Blames the caller where the upstream waits for more of the body, and the upstream otherwise. */
export function tooLong(upload: Upload | null): GatewayError {
  return upload?.awaitsCaller === true
    ? new GatewayError('request_timeout', 'the request did not arrive in time')
    : new GatewayError('upstream_timeout', 'the request took longer than it may')
}

const TIMEOUTS = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
])

/** An error about our own arguments is a defect; all others are the upstream's or the network's. */
export function failureOf(cause: Error & { readonly code?: unknown }): Error {
  const { code } = cause
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') return cause
  return typeof code === 'string' && TIMEOUTS.has(code)
    ? new GatewayError('upstream_timeout', 'the upstream did not answer in time', { cause })
    : new GatewayError('upstream_unavailable', 'the upstream did not answer', { cause })
}

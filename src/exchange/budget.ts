import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Bucket } from './bucket.ts'
import type { Exchange } from './exchange.ts'
import { exchangeKey } from './key.ts'

/**
 * Paces the exchanges with one issuer. An exchange that cannot leave before its deadline is shed at once, and its caller is
 * told when to come back; the exchange's key identifies it when it does. After the issuer has throttled the gateway, nothing
 * is sent to it until the time that it named.
 */
export function budgeted(exchange: Exchange, bucketOf: (permit: Permit) => Bucket): Exchange {
  return async (permit, ask) => {
    const { signal, deadline, background } = ask
    const bucket = bucketOf(permit)
    const key = exchangeKey(permit)
    try {
      await bucket.take({ signal, deadline, background, key })
    } catch (error) {
      if (error instanceof GatewayError) ask.outcome = 'shed'
      throw error
    }
    try {
      return await exchange(permit, ask)
    } catch (error) {
      if (!isThrottled(error)) throw error
      bucket.pauseFor(error.retryAfter * 1_000)
      if (background) throw error
      // The issuer's time is that of the first exchange to leave. This caller is told when its own turn comes.
      throw new GatewayError(error.code, error.message, {
        cause: error.cause,
        retryAfter: await bucket.promise(key),
        throttled: true,
      })
    }
  }
}

function isThrottled(error: unknown): error is GatewayError & { readonly retryAfter: number } {
  return (
    error instanceof GatewayError &&
    error.code === 'exchange_unavailable' &&
    error.throttled &&
    error.retryAfter !== undefined
  )
}

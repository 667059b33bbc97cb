import { GatewayError } from '../errors.ts'

/**
 * How long a refresh may take once it is sent, in milliseconds: longer than any caller waits, because even a late answer
 * tells which token has replaced the one that was sent.
 */
export const REFRESH_PATIENCE_MS = 30_000

/**
 * Waits for a promise until a deadline, in epoch milliseconds. What the promise stands for goes on after that.
 *
 * @throws {GatewayError} `exchange_unavailable` where the deadline passes first
 */
export async function until<Value>(deadline: number, promise: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooLate()), Math.max(0, deadline - Date.now()))
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export function tooLate(): GatewayError {
  return new GatewayError('exchange_unavailable', 'the issuer did not answer in time', {
    retryAfter: 1,
  })
}

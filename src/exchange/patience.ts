import { GatewayError } from '../errors.ts'

/**
 * How long a refresh may take once it is sent, in milliseconds: longer than anybody waits for it. Whether a token was
 * replaced, and by which, is worth knowing also where its answer comes too late.
 */
export const REFRESH_PATIENCE_MS = 30_000

/**
 * What a promise comes to, at most until then, in epoch milliseconds: what it stands for goes on.
 *
 * @throws {GatewayError} `exchange_unavailable`
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

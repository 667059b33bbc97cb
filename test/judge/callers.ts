/** Many callers at once, each on a connection that is open already. */
import { Pool } from 'undici'
import type { Scope } from '../system.ts'

export interface Answered {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly text: string
}

export interface Asking {
  readonly token?: string
  readonly method?: 'GET' | 'POST'
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** Rejects where there was no answer. */
export type Ask = (path: string, asking?: Asking) => Promise<Answered>

/** Opens all the connections first, so that nobody's request waits for one. */
export async function openCallers(scope: Scope, origin: string, callers: number): Promise<Ask> {
  const pool = new Pool(origin, { connections: callers, pipelining: 1 })
  scope.after(() => pool.destroy())
  const ask: Ask = async (path, asking = {}) => {
    const { token, method = 'GET', body, headers = {}, signal } = asking
    const answer = await pool.request({
      path,
      method,
      body: body ?? null,
      headers: token === undefined ? headers : { ...headers, authorization: `Bearer ${token}` },
      signal: signal ?? null,
    })
    const retryAfter = answer.headers['retry-after']
    return {
      status: answer.statusCode,
      retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
      text: await answer.body.text(),
    }
  }
  await Promise.all(Array.from({ length: callers }, () => ask('/orders')))
  return ask
}

/** Exchanges that end when a test says so, and callers that leave when it says so. */
import type { Permit } from '../../src/authorize/authorize.ts'
import { GatewayError } from '../../src/errors.ts'
import type { Ask, Exchange } from '../../src/exchange/exchange.ts'
import type { IssuedToken } from '../../src/exchange/issued.ts'
import { ask, issuedToken, permit } from '../support.ts'

/** One exchange that the layer under test began. */
export interface Begun {
  readonly permit: Permit
  readonly ask: Ask
  answer(token?: IssuedToken): void
  fail(error: Error): void
  /** From now on nothing drops it. */
  send(): void
  ended: boolean
}

/** Exchanges that end when the test says so, and are dropped by their signal until they are sent. */
export function byHand(): { exchange: Exchange; begun: Begun[] } {
  const begun: Begun[] = []
  const exchange: Exchange = (permit, ask) =>
    new Promise<IssuedToken>((resolve, reject) => {
      const drop = (): void => one.fail(ask.signal.reason as Error)
      const one: Begun = {
        permit,
        ask,
        ended: false,
        answer(token = issuedToken({ value: `for ${permit.subject.digest}` })) {
          one.ended = true
          resolve(token)
        },
        fail(error) {
          one.ended = true
          reject(error)
        },
        send: () => ask.signal.removeEventListener('abort', drop),
      }
      ask.signal.addEventListener('abort', drop, { once: true })
      begun.push(one)
    })
  return { exchange, begun }
}

export interface Caller {
  readonly ask: Ask
  readonly answer: Promise<IssuedToken>
  leave(): void
}

export function call(exchange: Exchange, permit: Permit): Caller {
  const controller = new AbortController()
  const own = ask({ signal: controller.signal })
  const answer = Promise.resolve(exchange(permit, own))
  // Each test looks at it in its own time.
  answer.catch(() => undefined)
  return { ask: own, answer, leave: () => controller.abort(new Error('the caller left')) }
}

/** Everything that is due has happened. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export function holder(digest: string, key: 'token' | 'context' = 'token', audience = 'a'): Permit {
  return permit({ subject: { digest }, route: { exchange: { key, audience } } })
}

export const refused = (): GatewayError => new GatewayError('exchange_denied', 'denied')
export const down = (): GatewayError => new GatewayError('exchange_unavailable', 'down')
export const LEFT = { message: 'the caller left' }

import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Ask, Exchange } from './exchange.ts'
import type { IssuedToken } from './issued.ts'
import { exchangeKey } from './key.ts'

/**
 * Joins concurrent exchanges of one key into one. Who goes away takes only itself out; the last one to go aborts the
 * exchange's own signal, which drops it where it was not sent yet.
 */
export function joined(exchange: Exchange): Exchange {
  const flights = new Map<string, Flight>()

  function start(key: string, permit: Permit): Flight {
    const deadline = Date.now() + permit.route.exchange.timeoutMs
    const flight = new Flight(
      permit.subject.digest,
      async (signal) => exchange(permit, { signal, deadline, outcome: undefined }),
      () => flights.delete(key),
    )
    flights.set(key, flight)
    return flight
  }

  async function join(permit: Permit, ask: Ask): Promise<IssuedToken> {
    const key = exchangeKey(permit)
    for (;;) {
      // Nothing begins for a caller that went away while it was on its way here.
      ask.signal.throwIfAborted()
      const flying = flights.get(key)
      const flight = flying ?? start(key, permit)
      ask.outcome = flying === undefined ? 'miss' : 'joined'
      try {
        return await flight.join(ask.signal)
      } catch (error) {
        // What failed was not ours: dropped by those who left before we came, or refused for another token.
        const others = flight.digest !== permit.subject.digest && isRefusal(error)
        if (error !== flight.dropped && !others) throw error
      }
    }
  }
  return join
}

/** A refusal belongs to the token that was sent; a failure of the issuer or of ours belongs to everyone. */
function isRefusal(error: unknown): boolean {
  return error instanceof GatewayError && error.status < 500
}

class Flight {
  readonly digest: string
  readonly #controller = new AbortController()
  readonly #answer: Promise<IssuedToken>
  #waiting = 0

  constructor(
    digest: string,
    run: (signal: AbortSignal) => Promise<IssuedToken>,
    ended: () => void,
  ) {
    this.digest = digest
    this.#answer = run(this.#controller.signal).finally(ended)
    // Whoever waits hears of a failure; when nobody waits any more, nobody needs to.
    this.#answer.catch(() => undefined)
  }

  /** With what it fails when everyone left before it was sent. */
  get dropped(): unknown {
    return this.#controller.signal.reason
  }

  join(signal: AbortSignal): Promise<IssuedToken> {
    signal.throwIfAborted()
    this.#waiting++
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        if (--this.#waiting === 0) this.#controller.abort()
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', leave, { once: true })
      const stay = (): void => signal.removeEventListener('abort', leave)
      this.#answer.finally(stay).then(resolve, reject)
    })
  }
}

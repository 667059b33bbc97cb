import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Ask, Exchange } from './exchange.ts'
import type { IssuedToken } from './issued.ts'
import { exchangeKey } from './key.ts'
import { type Purges, tagsOf } from './purge.ts'

/**
 * Joins concurrent exchanges of one key into one. A caller that goes away takes only itself out; the last one to go aborts
 * the exchange's own signal, which drops it if it was not sent yet. An exchange from before a purge is not joined.
 */
export function joined(exchange: Exchange, purges: Purges): Exchange {
  const flights = new Map<string, Flight>()

  function start(key: string, permit: Permit, background: boolean | undefined): Flight {
    const deadline = Date.now() + permit.route.exchange.timeoutMs
    const flight = new Flight({
      digest: permit.subject.digest,
      generation: purges.generation,
      run: async (ask) => exchange(permit, ask),
      deadline,
      background,
      ended: () => {
        if (flights.get(key) === flight) flights.delete(key)
      },
    })
    flights.set(key, flight)
    return flight
  }

  function find(key: string, permit: Permit): Flight | undefined {
    const flight = flights.get(key)
    if (flight === undefined || flight.generation === purges.generation) return flight
    return purges.reaches(tagsOf(permit), flight.generation) ? undefined : flight
  }

  async function join(permit: Permit, ask: Ask): Promise<IssuedToken> {
    const key = exchangeKey(permit)
    let { background } = ask
    for (;;) {
      // Nothing begins for a caller that went away while it was on its way here.
      ask.signal.throwIfAborted()
      const flying = find(key, permit)
      // A request does not wait for a renewal in the background, which comes last: if that was not sent yet, another begins.
      if (flying?.background && !background) flying.drop()
      const flight = flying ?? start(key, permit, background)
      ask.outcome = flying === undefined ? 'miss' : 'joined'
      try {
        const token = await flight.join(ask.signal)
        if (flying === undefined && flight.outcome === 'shared') ask.outcome = 'shared'
        return token
      } catch (error) {
        ask.outcome = flight.outcome ?? ask.outcome
        // The failure was another caller's: dropped when the last of them left, or refused for another token.
        const others = flight.digest !== permit.subject.digest && isRefusal(error)
        if (error !== flight.dropped && !others) throw error
        // The renewal was dropped for a request that waits: whichever of the two begins now begins for both.
        background = false
      }
    }
  }
  return join
}

/** A refusal concerns the token that was sent; a failure of the issuer or the gateway concerns all who joined. */
function isRefusal(error: unknown): boolean {
  return error instanceof GatewayError && error.status < 500
}

interface FlightOptions {
  readonly digest: string
  readonly generation: number
  readonly run: (ask: Ask) => Promise<IssuedToken>
  readonly deadline: number
  readonly background: boolean | undefined
  readonly ended: () => void
}

class Flight {
  readonly digest: string
  /** Purges after this generation concern it. */
  readonly generation: number
  readonly background: boolean | undefined
  readonly #controller = new AbortController()
  readonly #ask: Ask
  readonly #answer: Promise<IssuedToken>
  #waiting = 0

  constructor({ digest, generation, run, deadline, background, ended }: FlightOptions) {
    this.digest = digest
    this.generation = generation
    this.background = background
    const { signal } = this.#controller
    this.#ask = { signal, deadline, background, outcome: undefined }
    this.#answer = run(this.#ask).finally(ended)
    // Those who wait are told of a failure; with nobody waiting it must not become an unhandled rejection.
    this.#answer.catch(() => undefined)
  }

  /** The outcome that a layer below noted. */
  get outcome(): Ask['outcome'] {
    return this.#ask.outcome
  }

  /** The error that it fails with when everyone left before it was sent. */
  get dropped(): unknown {
    return this.#controller.signal.reason
  }

  /** Ends it if it was not sent yet. */
  drop(): void {
    this.#controller.abort()
  }

  join(signal: AbortSignal): Promise<IssuedToken> {
    signal.throwIfAborted()
    this.#waiting++
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        if (--this.#waiting === 0) this.drop()
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', leave, { once: true })
      const stay = (): void => signal.removeEventListener('abort', leave)
      this.#answer.finally(stay).then(resolve, reject)
    })
  }
}

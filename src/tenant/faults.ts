import { TOKEN_EXCHANGE } from './grants/token-exchange.ts'

/** What the tenant is to get wrong, in which requests, and how often. */
export type Fault = FaultScope & FaultKind

export interface FaultScope {
  /** In how many requests. Default: in all, until the faults are cleared. */
  readonly times?: number
  /** The `grant_type` of these requests. Default: token exchange. */
  readonly grantType?: string
}

export type FaultKind =
  /** The request is judged as ever, and its answer held back: an answer that a caller may not wait for. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** 429 with the headers of a limit, and nothing is judged. `Retry-After` only where it is given. */
  | {
      readonly kind: 'too_many_requests'
      /** In how many whole seconds the limit is over, as `X-RateLimit-Reset` tells it. Default 1. */
      readonly resetAfterSeconds?: number
      readonly retryAfterSeconds?: number
    }
  /** 500, or another status of 500 to 599, and nothing is judged. */
  | { readonly kind: 'server_error'; readonly status?: number }
  /** The request is judged as ever, and answered 200 with a body that is no JSON. Default: a page of HTML. */
  | { readonly kind: 'garbage'; readonly body?: string }
  /** The token is signed well and of another user. Default `auth0|somebody-else`. */
  | { readonly kind: 'wrong_sub'; readonly subject?: string }
  /** The token is signed well and for another API. Default `https://elsewhere.example`. */
  | { readonly kind: 'wrong_aud'; readonly audience?: string }
  /** The token, and the answer's `scope`, hold these beside what was granted. Default `admin:everything`. */
  | { readonly kind: 'wrong_scope'; readonly scope?: string }
  /** The token is signed well, and bound to another key (RFC 9449, section 6). Default: somebody else's. */
  | { readonly kind: 'wrong_cnf'; readonly jkt?: string }
  /** A proof is passed over, so that the token is not bound: where the API requires it, nothing is issued. */
  | { readonly kind: 'unbound' }
  /** The nonce of a proof is refused, whatever it is, and no other is given. */
  | { readonly kind: 'use_dpop_nonce' }

/** The faults that wait for a request. */
export interface Faults {
  /** @throws {TypeError} for what is no fault */
  add(fault: Fault): void
  clear(): void
  /**
   * The fault of the next request of this grant type, used up once by it. Faults come in the order in which they were
   * added: the next one's turn is when the one before has no times left.
   */
  take(grantType: string): Fault | undefined
}

export function createFaults(): Faults {
  let waiting: { readonly fault: Fault; left: number }[] = []
  return {
    add(given) {
      const fault = readFault(given)
      if (waiting.length >= MOST_FAULTS) throw new TypeError('there are too many faults already')
      waiting.push({ fault, left: fault.times ?? Number.POSITIVE_INFINITY })
    },
    clear() {
      waiting = []
    },
    take(grantType) {
      const next = waiting.find(({ fault }) => (fault.grantType ?? TOKEN_EXCHANGE) === grantType)
      if (next === undefined) return undefined
      if (--next.left <= 0) waiting = waiting.filter((one) => one !== next)
      return next.fault
    },
  }
}

const MOST_FAULTS = 1_000
const LONGEST_DELAY_MS = 120_000

type Test = (value: unknown) => boolean

const isText: Test = (value) => typeof value === 'string' && value !== ''
const isWhole =
  (from: number, to: number): Test =>
  (value) =>
    Number.isSafeInteger(value) && Number(value) >= from && Number(value) <= to

const SCOPE: Readonly<Record<string, Test>> = {
  times: isWhole(1, Number.MAX_SAFE_INTEGER),
  grantType: isText,
}

/** What may be said of each kind, beside what may be said of all. */
const MEMBERS: Readonly<Record<Fault['kind'], Readonly<Record<string, Test>>>> = {
  slow: { delayMs: isWhole(0, LONGEST_DELAY_MS) },
  too_many_requests: {
    resetAfterSeconds: isWhole(0, 86_400),
    retryAfterSeconds: isWhole(0, 86_400),
  },
  server_error: { status: isWhole(500, 599) },
  garbage: { body: (value) => typeof value === 'string' },
  wrong_sub: { subject: isText },
  wrong_aud: { audience: isText },
  wrong_scope: { scope: isText },
  wrong_cnf: { jkt: isText },
  unbound: {},
  use_dpop_nonce: {},
}

/**
 * Reads a fault that may have come as JSON.
 *
 * @throws {TypeError} naming what is wrong with it
 */
function readFault(value: unknown): Fault {
  if (typeof value !== 'object' || value === null) throw new TypeError('a fault is an object')
  const { kind, ...members } = value as Readonly<Record<string, unknown>>
  if (typeof kind !== 'string' || !Object.hasOwn(MEMBERS, kind)) {
    throw new TypeError(`kind must be one of ${Object.keys(MEMBERS).join(', ')}`)
  }
  const tests = { ...SCOPE, ...MEMBERS[kind as Fault['kind']] }
  for (const [name, member] of Object.entries(members)) {
    const test = Object.hasOwn(tests, name) ? tests[name] : undefined
    if (test === undefined) throw new TypeError(`a fault of kind ${kind} has no ${name}`)
    if (member !== undefined && !test(member)) throw new TypeError(`${name} is out of bounds`)
  }
  if (kind === 'slow' && members['delayMs'] === undefined) throw new TypeError('delayMs is missing')
  return value as Fault
}

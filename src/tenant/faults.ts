import { TOKEN_EXCHANGE } from './grants/token-exchange.ts'

/** What the tenant is to get wrong, in which requests, and how often. */
export type Fault = FaultScope & FaultKind

export interface FaultScope {
  /** In how many requests. Default: in all, until the faults are cleared. */
  readonly times?: number
  /** The `grant_type` of these requests. Default: token exchange. */
  readonly grantType?: string
  /**
   * Calls of the Management API instead, by method and kind, `*` for any: `POST /clients`, `GET /*`, `* /client-grants`.
   * What belongs to a client is of its kind. Default `* /*` for the faults that only they can have.
   */
  readonly management?: string
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
  /** 409, and nothing is judged: somebody else was faster. */
  | { readonly kind: 'conflict' }
  /** The call is judged and done as ever, and answered 503, or by another status of 500 to 599. */
  | { readonly kind: 'unsure'; readonly status?: number }
  /** The call is judged and done as ever, and its connection ends without an answer. */
  | { readonly kind: 'lost_answer' }
  /** What is written is not read for so long: lists and objects are told as they were before. */
  | { readonly kind: 'stale'; readonly delayMs: number }

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
  /**
   * The same for a call of the Management API. A fault of writes waits for one.
   *
   * @param kind of objects, for example `clients`
   */
  takeManagement(method: string, kind: string): Fault | undefined
}

export function createFaults(): Faults {
  let waiting: { readonly fault: Fault; left: number }[] = []
  function used(isMeant: (fault: Fault) => boolean): Fault | undefined {
    const next = waiting.find(({ fault }) => isMeant(fault))
    if (next === undefined) return undefined
    if (--next.left <= 0) waiting = waiting.filter((one) => one !== next)
    return next.fault
  }

  return {
    add(given) {
      const fault = readFault(given)
      if (waiting.length >= MOST_FAULTS) throw new TypeError('there are too many faults already')
      waiting.push({ fault, left: fault.times ?? Number.POSITIVE_INFINITY })
    },
    clear() {
      waiting = []
    },
    take: (grantType) =>
      used((fault) => !isOfManagement(fault) && (fault.grantType ?? TOKEN_EXCHANGE) === grantType),
    takeManagement: (method, kind) =>
      used((fault) => isOfManagement(fault) && isCall(fault, method, kind)),
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

const MANAGEMENT = /^(\*|GET|POST|PATCH|DELETE) \/(\*|resource-servers|clients|client-grants)$/

const SCOPE: Readonly<Record<string, Test>> = {
  management: (value) => typeof value === 'string' && MANAGEMENT.test(value),
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
  conflict: {},
  unsure: { status: isWhole(500, 599) },
  lost_answer: {},
  stale: { delayMs: isWhole(0, LONGEST_DELAY_MS) },
}

/** What only a call of the Management API can suffer. */
const OF_MANAGEMENT: ReadonlySet<string> = new Set(['conflict', 'unsure', 'lost_answer', 'stale'])
/** What a call of either can. */
const OF_EITHER: ReadonlySet<string> = new Set([
  'slow',
  'too_many_requests',
  'server_error',
  'garbage',
])

function isOfManagement({ kind, management }: Fault): boolean {
  return management !== undefined || OF_MANAGEMENT.has(kind)
}

function isCall(
  { kind: fault, management = '* /*' }: Fault,
  method: string,
  kind: string,
): boolean {
  if (fault === 'stale' && method === 'GET') return false
  const [, ofMethod, ofKind] = MANAGEMENT.exec(management) ?? []
  return (ofMethod === '*' || ofMethod === method) && (ofKind === '*' || ofKind === kind)
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
  if ((kind === 'slow' || kind === 'stale') && members['delayMs'] === undefined) {
    throw new TypeError('delayMs is missing')
  }
  assertScope(value as Fault)
  return value as Fault
}

/** @throws {TypeError} for a fault that its requests cannot have */
function assertScope({ kind, grantType, management }: Fault): void {
  if (management !== undefined && !OF_MANAGEMENT.has(kind) && !OF_EITHER.has(kind)) {
    throw new TypeError(`${kind} is a fault of tokens, which the Management API gives none of`)
  }
  if (grantType !== undefined && (management !== undefined || OF_MANAGEMENT.has(kind))) {
    throw new TypeError('a call of the Management API has no grantType')
  }
}

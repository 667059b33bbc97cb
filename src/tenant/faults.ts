import { TOKEN_EXCHANGE } from './grants/token-exchange.ts'

/** What the tenant does wrong, in which requests, and how often. */
export type Fault = FaultScope & FaultKind

export interface FaultScope {
  /** The number of requests that it affects. Default: all, until the faults are cleared. */
  readonly times?: number
  /** The `grant_type` of the requests that it affects. Default: token exchange. */
  readonly grantType?: string
  /**
   * Calls of the Management API instead, by method and kind, `*` for any: `POST /clients`, `GET /*`, `* /client-grants`.
   * Credentials and secrets of clients count as `clients`. Default `* /*` for faults that only such calls can have.
   */
  readonly management?: string
}

export type FaultKind =
  /** The request is handled as usual, and its answer delayed, perhaps longer than a caller waits. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** 429 with the headers of a limit; the request is not handled. `Retry-After` is sent only if it is given here. */
  | {
      readonly kind: 'too_many_requests'
      /** Whole seconds until the limit is over, for `X-RateLimit-Reset`. Default 1. */
      readonly resetAfterSeconds?: number
      readonly retryAfterSeconds?: number
    }
  /** 500, or another status of 500 to 599; the request is not handled. */
  | { readonly kind: 'server_error'; readonly status?: number }
  /** The request is handled as usual, and answered 200 with a body that is not JSON. Default: a page of HTML. */
  | { readonly kind: 'garbage'; readonly body?: string }
  /** The token has a good signature, but is of another user. Default `auth0|somebody-else`. */
  | { readonly kind: 'wrong_sub'; readonly subject?: string }
  /** The token has a good signature, but is for another API. Default `https://elsewhere.example`. */
  | { readonly kind: 'wrong_aud'; readonly audience?: string }
  /** The token, and the answer's `scope`, contain these scopes in addition to those granted. Default `admin:everything`. */
  | { readonly kind: 'wrong_scope'; readonly scope?: string }
  /** The token has a good signature, but is bound to another key (RFC 9449, section 6). Default: a key that nobody has. */
  | { readonly kind: 'wrong_cnf'; readonly jkt?: string }
  /** A proof is ignored, so the token is not bound. If the API requires a proof, nothing is issued. */
  | { readonly kind: 'unbound' }
  /** Every nonce of a proof is refused, and no other is given. */
  | { readonly kind: 'use_dpop_nonce' }
  /** 409, as if another change had come first; the call is not handled. */
  | { readonly kind: 'conflict' }
  /** The call is done as usual, and answered 503, or with another status of 500 to 599. */
  | { readonly kind: 'unsure'; readonly status?: number }
  /** The call is done as usual, and its connection ends without an answer. */
  | { readonly kind: 'lost_answer' }
  /** For so long, reads return lists and objects as they were before the change. */
  | { readonly kind: 'stale'; readonly delayMs: number }

/** The faults that were ordered and wait for requests. */
export interface Faults {
  /** @throws {TypeError} if it is not a fault */
  add(fault: Fault): void
  clear(): void
  /**
   * The fault for a request of this grant type; takes one of its `times`. Faults come in the order in which they were
   * added: the next one comes when the one before has no times left.
   */
  take(grantType: string): Fault | undefined
  /**
   * The same for a call of the Management API. Faults that only writes can have wait for a write.
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

/** The members of each kind, beside those that all have. */
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

/** Kinds for calls of the Management API only. */
const OF_MANAGEMENT: ReadonlySet<string> = new Set(['conflict', 'unsure', 'lost_answer', 'stale'])
/** Kinds for both endpoints. */
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
 * Checks a fault that may have come as JSON.
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

/** @throws {TypeError} if requests of this scope cannot have this kind of fault */
function assertScope({ kind, grantType, management }: Fault): void {
  if (management !== undefined && !OF_MANAGEMENT.has(kind) && !OF_EITHER.has(kind)) {
    throw new TypeError(`${kind} is a fault of tokens, which the Management API gives none of`)
  }
  if (grantType !== undefined && (management !== undefined || OF_MANAGEMENT.has(kind))) {
    throw new TypeError('a call of the Management API has no grantType')
  }
}

import type { Verdict } from '../../authorize/authorize.ts'
import { asGatewayError } from '../../errors.ts'
import { describeError } from '../../log.ts'

/** What each step would do with a request. Holds no token and no secret. */
export interface Explanation {
  /** Whether the request would reach its upstream, as far as that can be known without an exchange. */
  readonly ok: boolean
  readonly request: {
    readonly method: string
    readonly target: string
    /** Its fingerprint: eight hexadecimal digits; absent where no token was given. */
    readonly token?: string
  }
  readonly steps: readonly Step[]
}

const STEPS = ['route', 'authenticate', 'authorize', 'exchange', 'proxy'] as const

export interface Step {
  readonly step: (typeof STEPS)[number]
  readonly verdict: 'passes' | 'refused' | 'not reached'
  /** What the step looked at, and what it found out. */
  readonly facts: readonly Fact[]
  /** For `authorize`: each condition of the route. */
  readonly conditions?: readonly Verdict[]
  /** For `exchange`: the form that would be sent to the token endpoint. */
  readonly form?: readonly Field[]
  /** For `exchange`: what the key of the cache is made of. */
  readonly key?: readonly Field[]
  readonly refusal?: Refusal
}

export interface Fact {
  readonly name: string
  readonly value: string
  /** What the value should be; absent where nothing is wrong with it, or nothing else would help. */
  readonly wanted?: string
}

export interface Field {
  readonly name: string
  readonly value: string
}

export interface Refusal {
  readonly code: string
  readonly status: number
  readonly detail: string
  /** What to change. */
  readonly remedy: string
  /** Names, codes and masked texts of the underlying error. */
  readonly cause?: object
}

type Open = { -readonly [Name in keyof Step]: Step[Name] } & { facts: Fact[] }

/** Collects what each step finds out, up to the one that refuses. */
export class Report {
  readonly #steps: Open[] = STEPS.map((step) => ({ step, verdict: 'not reached', facts: [] }))
  #current: Open | undefined

  /** Begins a step: the one before it has passed. */
  begin(step: Step['step']): void {
    this.pass()
    this.#current = this.#steps.find((one) => one.step === step)
  }

  /** Adds a fact to the current step, unless its value is undefined. */
  note(name: string, value: string | undefined, wanted?: string): void {
    if (value === undefined) return
    this.#current?.facts.push({ name, value, ...(wanted !== undefined && { wanted }) })
  }

  add(parts: Pick<Step, 'conditions' | 'form' | 'key'>): void {
    if (this.#current !== undefined) Object.assign(this.#current, parts)
  }

  pass(): void {
    if (this.#current !== undefined) this.#current.verdict = 'passes'
  }

  refuse(error: unknown, remedyOf: (step: Step, code: string) => string): void {
    if (this.#current === undefined) return
    const { code, status, message, cause } = asGatewayError(error)
    this.#current.verdict = 'refused'
    this.#current.refusal = {
      code,
      status,
      detail: message,
      remedy: remedyOf(this.#current, code),
      ...(cause instanceof Error && { cause: describeError(cause, 1) }),
    }
  }

  get steps(): readonly Step[] {
    return this.#steps
  }
}

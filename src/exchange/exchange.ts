import type { Permit } from '../authorize/authorize.ts'

/** What an exchange returned, checked. A value of scheme `none` stands for "send no credentials". */
export interface IssuedToken {
  readonly scheme: 'Bearer' | 'none'
  readonly value: string
  /** Epoch milliseconds; undefined where the issuer told none. */
  readonly expiresAt: number
  readonly scopes: readonly string[]
}

/** How a request's token was had, for the access line and the metrics. */
export type ExchangeOutcome = 'hit' | 'joined' | 'miss'

/** What one request asks of the exchange beside its permit. Each layer may note what it did. */
export interface Ask {
  /** Aborted when the caller goes away. Created on first use: the cached path never needs it. */
  readonly signal: AbortSignal
  /** Epoch milliseconds after which nobody waits for the answer any more. */
  readonly deadline: number
  /** Do not answer with this token: the upstream refused it. */
  readonly instead?: IssuedToken
  outcome: ExchangeOutcome | undefined
}

/** Answers at once where it can: the cached path pays for no promise. */
export type Exchange = (permit: Permit, ask: Ask) => IssuedToken | Promise<IssuedToken>

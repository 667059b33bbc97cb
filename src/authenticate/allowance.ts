import { GatewayError } from '../errors.ts'

/** Limits how often an issuer is asked about tokens. */
export interface Allowance {
  /**
   * @param ask asks the issuer. Called once, or not at all
   * @param isGood whether the issuer knows the token: questions about such tokens are not limited
   * @throws {GatewayError} `overloaded` where too many questions are under way, or too many were about unknown tokens;
   *   `exchange_unavailable` while the issuer asks for a pause; what `ask` throws
   */
  spend<Answer>(ask: () => Promise<Answer>, isGood: (answer: Answer) => boolean): Promise<Answer>
}

export interface AllowanceOptions {
  /** How many questions may be underway at once. Default 64. */
  readonly mostUnderway?: number
  /** How many questions per second may be about unknown tokens, in the long run. Default 20. */
  readonly perSecond?: number
  /** How many such questions may come at once. Default 100. */
  readonly burst?: number
}

/**
 * Keeps a flood of made-up tokens from the issuer, by a token bucket. Each question takes one unit when it is asked, and
 * returns it when the token turns out to be good, so that any number of users is served. A question that finds the bucket
 * empty is refused at once. An unanswered question returns nothing, so that an issuer that is down is asked at this rate.
 */
export function createAllowance(options: AllowanceOptions = {}): Allowance {
  const { mostUnderway = 64, perSecond = 20, burst = 100 } = options
  let left = burst
  let filledAt = Date.now()
  let underway = 0
  let pausedUntil = 0

  function refill(now: number): void {
    // A clock that was set back adds nothing, and removes nothing.
    const gained = (Math.max(0, now - filledAt) / 1_000) * perSecond
    left = Math.min(burst, left + gained)
    filledAt = now
  }

  return {
    async spend(ask, isGood) {
      const now = Date.now()
      refill(now)
      if (now < pausedUntil) {
        const retryAfter = Math.ceil((pausedUntil - now) / 1_000)
        const detail = 'the issuer asks for fewer questions about tokens'
        throw new GatewayError('exchange_unavailable', detail, { retryAfter })
      }
      if (underway >= mostUnderway || left < 1) {
        throw new GatewayError('overloaded', 'too many unknown tokens are presented', {
          retryAfter: 1,
        })
      }
      left--
      underway++
      try {
        const answer = await ask()
        if (isGood(answer)) left = Math.min(burst, left + 1)
        return answer
      } catch (error) {
        if (error instanceof GatewayError && error.throttled) {
          pausedUntil = Date.now() + (error.retryAfter ?? 1) * 1_000
        }
        throw error
      } finally {
        underway--
      }
    },
  }
}

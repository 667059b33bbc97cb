import { GatewayError } from '../errors.ts'

/** What an issuer is asked about tokens that nobody knows yet. */
export interface Allowance {
  /**
   * @param ask is called once, or not at all
   * @param isGood whether the answer is about a token that there is: those are asked about as often as they come
   * @throws {GatewayError} `overloaded` where too much was asked for nothing; `exchange_unavailable` while the issuer wants
   *   to be left alone; what `ask` throws
   */
  spend<Answer>(ask: () => Promise<Answer>, isGood: (answer: Answer) => boolean): Promise<Answer>
}

export interface AllowanceOptions {
  /** How many questions may be underway at once. Default 64. */
  readonly mostUnderway?: number
  /** How many questions per second may come to nothing, in the long run. Default 20. */
  readonly perSecond?: number
  /** How many may do so at once. Default 100. */
  readonly burst?: number
}

/**
 * Keeps a flood of made-up tokens from the issuer. Each question is paid for when it leaves, and paid back when the token
 * turns out to be a good one, so that no number of users is too many; what cannot be paid is refused at once. A question
 * that is not answered is not paid back: an issuer that is down is asked no more often than that.
 */
export function createAllowance(options: AllowanceOptions = {}): Allowance {
  const { mostUnderway = 64, perSecond = 20, burst = 100 } = options
  let left = burst
  let filledAt = Date.now()
  let underway = 0
  let pausedUntil = 0

  function refill(now: number): void {
    // A clock that was set back gives nothing, and takes nothing.
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

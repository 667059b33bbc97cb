export interface RefreshedOptions<Value> {
  readonly load: () => Promise<Value>
  /** How long a value is used without asking again, in milliseconds. */
  readonly freshForMs: number
  /** How much longer it is used while it cannot be had anew, in milliseconds. */
  readonly staleForMs: number
  /** The least time between two loads, in milliseconds, whoever asks for them. */
  readonly cooldownMs: number
  /** The same after a load that failed with nothing known, where everybody waits for it. Default: no shorter. */
  readonly retryAfterMs?: number
}

/** A value of the issuer's that is kept, renewed in the background, and survives the issuer for a while. */
export interface Refreshed<Value> {
  /** What is known now. At once while there is something; rejects with the load's failure where there is nothing. */
  current(): Value | Promise<Value>
  /**
   * Asks anew, unless the last load was less than a cooldown ago: then what that one gave. Rejects with the load's
   * failure also where something older is known, since the caller looked there already.
   */
  renewed(): Value | Promise<Value>
  /** What is known now, without asking. */
  peek(): Value | undefined
  /** Whether the last load failed, without asking; false before there was one. */
  failing(): boolean
}

export function createRefreshed<Value>(options: RefreshedOptions<Value>): Refreshed<Value> {
  const { load, freshForMs, staleForMs, cooldownMs, retryAfterMs = cooldownMs } = options
  let known: { readonly value: Value; readonly at: number } | undefined
  /** Of the last load; undefined where that gave a value. */
  let failure: Error | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let loading: Promise<Value> | undefined

  function ask(): Promise<Value> {
    askedAt = Date.now()
    loading ??= load()
      .then(
        (value) => {
          known = { value, at: Date.now() }
          failure = undefined
          return value
        },
        (error: unknown) => {
          failure = error instanceof Error ? error : new Error('the load failed', { cause: error })
          throw failure
        },
      )
      .finally(() => (loading = undefined))
    return loading
  }

  function usable(): boolean {
    return known !== undefined && Date.now() - known.at < freshForMs + staleForMs
  }

  function cooling(): boolean {
    const spanMs = failure !== undefined && !usable() ? retryAfterMs : cooldownMs
    return loading === undefined && within(spanMs, askedAt)
  }

  return {
    current() {
      if (known !== undefined && usable()) {
        // The failure of a renewal is told by the next load that somebody waits for.
        if (!within(freshForMs, known.at) && !cooling()) ask().catch(() => undefined)
        return known.value
      }
      if (cooling()) throw failure
      return ask()
    },
    renewed() {
      if (!cooling()) return ask()
      if (known !== undefined && failure === undefined) return known.value
      throw failure
    },
    peek: () => (usable() ? known?.value : undefined),
    failing: () => failure !== undefined,
  }
}

/** A moment in the future is none to wait for: the clock was set back since. */
function within(spanMs: number, since: number): boolean {
  const passed = Date.now() - since
  return passed >= 0 && passed < spanMs
}

export interface RefreshedOptions<Value> {
  readonly load: () => Promise<Value>
  /** How long a value is used before it is loaded again, in milliseconds. */
  readonly freshForMs: number
  /** How much longer a value is used while it cannot be loaded again, in milliseconds. */
  readonly staleForMs: number
  /** The least time between two loads, in milliseconds. */
  readonly cooldownMs: number
  /** The least time after a failed load while no value is usable, in milliseconds. Default: `cooldownMs`. */
  readonly retryAfterMs?: number
}

/** A value from the issuer that is kept, renewed in the background, and used for a while after the issuer fails. */
export interface Refreshed<Value> {
  /**
   * The known value, at once. Where none is usable, loads it, or throws the last load's failure while the cooldown lasts.
   */
  current(): Value | Promise<Value>
  /**
   * Loads the value again, unless the last load was less than a cooldown ago: then that one's outcome counts. A failure is
   * passed on also where an older value is known, because the caller has already looked there.
   */
  renewed(): Value | Promise<Value>
  /** The known value, without a load; undefined where none is usable. */
  peek(): Value | undefined
  /** Whether the last load failed; false before the first. Causes no load. */
  failing(): boolean
}

export function createRefreshed<Value>(options: RefreshedOptions<Value>): Refreshed<Value> {
  const { load, freshForMs, staleForMs, cooldownMs, retryAfterMs = cooldownMs } = options
  let known: { readonly value: Value; readonly at: number } | undefined
  /** The last load's failure; undefined where it succeeded. */
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
        // A renewal that fails in the background fails nobody: the known value is still used.
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

/** False where `since` lies in the future: the clock was set back, and nothing should wait for that moment. */
function within(spanMs: number, since: number): boolean {
  const passed = Date.now() - since
  return passed >= 0 && passed < spanMs
}

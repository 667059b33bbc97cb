export interface RefreshedOptions<Value> {
  readonly load: () => Promise<Value>
  /** How long a value is used without asking again, in milliseconds. */
  readonly freshForMs: number
  /** How much longer it is used while it cannot be had anew, in milliseconds. */
  readonly staleForMs: number
  /** The least time between two loads, in milliseconds, whoever asks for them. */
  readonly cooldownMs: number
}

/** A value of the issuer's that is kept, renewed in the background, and survives the issuer for a while. */
export interface Refreshed<Value> {
  /** What is known now. At once while there is something; rejects with the load's failure where there is nothing. */
  current(): Value | Promise<Value>
  /** Asks anew, unless the last load was less than a cooldown ago. What is known afterwards. */
  renewed(): Value | Promise<Value>
  /** What is known now, without asking. */
  peek(): Value | undefined
}

export function createRefreshed<Value>(options: RefreshedOptions<Value>): Refreshed<Value> {
  const { load, freshForMs, staleForMs, cooldownMs } = options
  let known: { readonly value: Value; readonly at: number } | undefined
  let failure: unknown
  let askedAt = Number.NEGATIVE_INFINITY
  let loading: Promise<Value> | undefined

  function ask(): Promise<Value> {
    askedAt = Date.now()
    loading ??= load()
      .then(
        (value) => {
          known = { value, at: Date.now() }
          return value
        },
        (error: unknown) => {
          failure = error
          throw error
        },
      )
      .finally(() => (loading = undefined))
    return loading
  }

  function usable(): boolean {
    return known !== undefined && Date.now() - known.at < freshForMs + staleForMs
  }

  function cooling(): boolean {
    return loading === undefined && Date.now() - askedAt < cooldownMs
  }

  return {
    current() {
      if (known !== undefined && usable()) {
        // The failure of a renewal is told by the next load that somebody waits for.
        if (Date.now() - known.at >= freshForMs && !cooling()) ask().catch(() => undefined)
        return known.value
      }
      if (cooling()) throw failure
      return ask()
    },
    renewed() {
      if (cooling()) {
        if (known !== undefined && usable()) return known.value
        throw failure
      }
      return ask().catch((error: unknown) => {
        if (known !== undefined && usable()) return known.value
        throw error
      })
    },
    peek: () => (usable() ? known?.value : undefined),
  }
}

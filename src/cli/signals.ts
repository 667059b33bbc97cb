/** A terminal signals every process of its group, and npm passes on what it got: the second of those is no second wish. */
const ECHO_MS = 250

/** Resolves with the first SIGINT or SIGTERM from now on. Its echoes are swallowed; what comes later is not caught. */
export function signalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals): void => {
      setTimeout(() => process.off('SIGTERM', onSignal).off('SIGINT', onSignal), ECHO_MS).unref()
      resolve(signal)
    }
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  })
}

/**
 * Resolves with the first SIGINT or SIGTERM that is no echo of the one before, and catches all from now on: between the echoes
 * and the second wish there is no moment in which a signal would end the process by itself.
 */
export function signalledAgain(): Promise<NodeJS.Signals> {
  const since = performance.now()
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals): void => {
      if (performance.now() - since >= ECHO_MS) resolve(signal)
    }
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  })
}

/** What came before somebody listens is told to whoever does. */
export interface HangingUp {
  tell(heard: () => void): void
}

/** Catches SIGHUP from now on, which would end the process. */
export function hangingUp(): HangingUp {
  let pending = false
  let hear = (): void => void (pending = true)
  process.on('SIGHUP', () => hear())
  return {
    tell(heard) {
      hear = heard
      if (pending) heard()
    },
  }
}

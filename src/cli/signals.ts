/** A terminal signals every process of its group, and npm passes its signal on: the second of these is an echo. */
const ECHO_MS = 250

/** Resolves with the first SIGINT or SIGTERM from now on. Its echoes are ignored; later signals are not caught. */
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
 * Resolves with the first SIGINT or SIGTERM that is not an echo of the one before. It catches all of them from now on, so
 * that no signal between the echoes and the second one ends the process by itself.
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

/** SIGHUPs. One that comes before there is a listener is kept for it. */
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

interface Serving {
  /** How many times `behalf serve` runs with this configuration. */
  readonly replicas: number
  /** How many processes each replica serves with. */
  readonly workers: number
}

/** The number of processes in all: each worker of each replica. */
export function processesOf({ replicas, workers }: Serving): number {
  return replicas * workers
}

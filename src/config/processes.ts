interface Serving {
  /** How many times `behalf serve` runs. */
  readonly replicas: number
  /** How many processes each of them serves by. */
  readonly workers: number
}

/** How many processes there are in all: each worker of each replica. */
export function processesOf({ replicas, workers }: Serving): number {
  return replicas * workers
}

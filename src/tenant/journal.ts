const LONGEST = 10_000

/** The newest requests since the start, and the number of those that count. */
export interface Journal<Entry> {
  readonly record: (entry: Entry) => void
  /** The oldest first, at most 10 000. */
  readonly entries: () => readonly Entry[]
  /** How many counted since the start. */
  readonly count: () => number
}

export function createJournal<Entry>(counts: (entry: Entry) => boolean): Journal<Entry> {
  let entries: Entry[] = []
  let count = 0
  return {
    record(entry) {
      if (counts(entry)) count++
      entries.push(entry)
      if (entries.length >= 2 * LONGEST) entries = entries.slice(-LONGEST)
    },
    entries: () => entries.slice(-LONGEST),
    count: () => count,
  }
}

import {
  type FamilySnapshot,
  type Series,
  seriesOf,
  type Snapshot,
  type Together,
} from '../metrics.ts'

/**
 * Joins the metrics of several processes: counters and histograms are added up, and so are gauges, unless they say otherwise
 * (`together`). Processes are no label, so that more of them do not mean more series.
 */
export function joinSnapshots(snapshots: readonly Snapshot[]): Snapshot {
  const families = new Map<string, { first: FamilySnapshot; series: Map<string, Series> }>()
  for (const family of snapshots.flat()) {
    const { name, series } = family
    const known = families.get(name) ?? { first: family, series: new Map<string, Series>() }
    families.set(name, known)
    // A metric of another kind comes from another release of the gateway, and is left out.
    if (known.first.kind !== family.kind) continue
    for (const one of series) {
      const key = seriesOf(one.labels)
      const before = known.series.get(key)
      known.series.set(key, before === undefined ? one : joined(before, one))
    }
  }
  return Array.from(families.values(), ({ first, series }) => ({
    ...first,
    series: [...series.values()],
  }))
}

/** What stays true of a process that has ended: its counters and histograms, not its gauges. */
export function countsOf(snapshot: Snapshot): Snapshot {
  return snapshot.filter(({ kind }) => kind !== 'gauge')
}

const TOGETHER: Readonly<Record<Together, (one: number, other: number) => number>> = {
  sum: (one, other) => one + other,
  max: Math.max,
  min: Math.min,
}

function joined(one: Series, other: Series): Series {
  const value = TOGETHER[one.together ?? 'sum'](one.value, other.value)
  if (one.counts === undefined) return { ...one, value }
  return { ...one, value, counts: one.counts.map((n, index) => n + (other.counts?.[index] ?? 0)) }
}

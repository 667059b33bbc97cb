/**
 * Prometheus metrics, text format 0.0.4. A cell is a plain number that its owner keeps and adds to, so that counting costs
 * a request one addition; the text is made at each scrape. Labels come from the configuration and from fixed sets, never
 * from tokens or requests, so that the number of series is bounded.
 */
export interface Cell {
  value: number
}

export interface Histogram {
  /** In seconds. */
  observe(seconds: number): void
}

export interface Metrics {
  counter(name: string, help: string, labels?: Labels): Cell
  gauge(name: string, help: string, labels?: Labels): Cell
  /**
   * A gauge whose `sample` is called at each scrape. A later one with the same name and labels replaces it.
   *
   * @returns a function that removes the gauge, unless a later one has replaced it
   */
  sampled(
    name: string,
    help: string,
    sample: () => number,
    labels?: Labels,
    /** How the values of several processes become one. Default: their sum. */
    together?: Together,
  ): () => void
  histogram(name: string, help: string, labels?: Labels): Histogram
  snapshot(): Snapshot
  render(): string
}

export type Together = 'sum' | 'max' | 'min'

/** All metrics of a process at one moment: plain data, which processes may send each other. */
export type Snapshot = readonly FamilySnapshot[]

export interface FamilySnapshot {
  readonly name: string
  readonly kind: Kind
  readonly help: string
  readonly series: readonly Series[]
}

export interface Series {
  readonly labels: Labels
  /** For a histogram, the sum of the observed values. */
  readonly value: number
  /** For a histogram, how many values fell into each bucket, and last how many exceeded all of them. */
  readonly counts?: readonly number[]
  /** For a gauge, how the values of several processes become one. Default: their sum. */
  readonly together?: Together
}

export type Labels = Readonly<Record<string, string>>

type Kind = 'counter' | 'gauge' | 'histogram'
interface Family {
  readonly kind: Kind
  readonly help: string
  /** Keyed by the labels (`seriesOf`), so that no series is written twice. */
  readonly series: Map<string, () => Series>
  readonly cells: Map<string, Cell & Histogram>
}

/** Upper bounds, in seconds: from a cached request to a slow exchange. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export function createMetrics(): Metrics {
  const families = new Map<string, Family>()

  function cell(kind: Kind, name: string, help: string, labels: Labels): Cell & Histogram {
    const family = familyOf(kind, name, help)
    const key = seriesOf(labels)
    const known = family.cells.get(key)
    if (known !== undefined) return known
    const made = kind === 'histogram' ? new Buckets() : new Single()
    family.cells.set(key, made)
    family.series.set(key, () => ({ labels, ...made.now() }))
    return made
  }

  function familyOf(kind: Kind, name: string, help: string): Family {
    const known = families.get(name)
    if (known !== undefined) {
      if (known.kind !== kind) throw new TypeError(`${name} is a ${known.kind}, not a ${kind}`)
      return known
    }
    const family: Family = { kind, help, series: new Map(), cells: new Map() }
    families.set(name, family)
    return family
  }

  function snapshot(): Snapshot {
    return Array.from(families, ([name, { kind, help, series }]) => {
      return { name, kind, help, series: Array.from(series.values(), (now) => now()) }
    })
  }

  return {
    counter: (name, help, labels = {}) => cell('counter', name, help, labels),
    gauge: (name, help, labels = {}) => cell('gauge', name, help, labels),
    histogram: (name, help, labels = {}) => cell('histogram', name, help, labels),
    sampled(name, help, sample, labels = {}, together = 'sum') {
      const { series } = familyOf('gauge', name, help)
      const key = seriesOf(labels)
      const now = (): Series => ({ labels, value: sample(), together })
      series.set(key, now)
      return () => {
        if (series.get(key) === now) series.delete(key)
      }
    },
    snapshot,
    render: () => render(snapshot()),
  }
}

/** Renders the text that Prometheus scrapes. */
export function render(snapshot: Snapshot): string {
  let text = ''
  for (const { name, kind, help, series } of snapshot) {
    text += `# HELP ${name} ${escapedHelp(help)}\n# TYPE ${name} ${kind}\n`
    for (const one of series) text += kind === 'histogram' ? buckets(name, one) : single(name, one)
  }
  return text
}

function single(name: string, { labels, value }: Series): string {
  return `${name}${labelText(labels)} ${spelled(value)}\n`
}

function buckets(name: string, { labels, value, counts = [] }: Series): string {
  let text = ''
  let total = 0
  for (const [index, count] of counts.entries()) {
    total += count
    const le = index < BUCKETS.length ? String(BUCKETS[index]) : '+Inf'
    text += `${name}_bucket${labelText({ ...labels, le })} ${total}\n`
  }
  const own = labelText(labels)
  return `${text}${name}_sum${own} ${value}\n${name}_count${own} ${total}\n`
}

class Single implements Cell, Histogram {
  value = 0
  observe(seconds: number): void {
    this.value += seconds
  }
  now(): Omit<Series, 'labels'> {
    return { value: this.value }
  }
}

class Buckets implements Cell, Histogram {
  value = 0
  readonly #counts = new Array<number>(BUCKETS.length + 1).fill(0)

  observe(seconds: number): void {
    this.value += seconds
    let bucket = 0
    while (bucket < BUCKETS.length && seconds > BUCKETS[bucket]!) bucket++
    this.#counts[bucket]!++
  }

  now(): Omit<Series, 'labels'> {
    return { value: this.value, counts: [...this.#counts] }
  }
}

/** A key for a set of labels, the same in whatever order they are given. */
export function seriesOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1)))
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function spelled(value: number): string {
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}

function escapedHelp(help: string): string {
  return help.replace(/[\\\n]/g, (character) => (character === '\n' ? '\\n' : '\\\\'))
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`))
}

/**
 * Prometheus metrics, text format 0.0.4. A cell is a plain number that its owner keeps and adds to, so counting costs
 * an addition on the path; the text is made when somebody scrapes. Labels are taken from the configuration and from
 * fixed sets, never from tokens or requests: their number is bounded.
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
  /** A gauge that is asked when somebody scrapes. The last one of its name and labels counts. */
  sampled(name: string, help: string, sample: () => number, labels?: Labels): void
  histogram(name: string, help: string, labels?: Labels): Histogram
  render(): string
}

export type Labels = Readonly<Record<string, string>>

type Kind = 'counter' | 'gauge' | 'histogram'
interface Family {
  readonly kind: Kind
  readonly help: string
  /** By their labels, so that no series is written twice. */
  readonly lines: Map<string, () => string>
  readonly cells: Map<string, Cell & Histogram>
}

/** From a cached request to a patient exchange, in seconds. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export function createMetrics(): Metrics {
  const families = new Map<string, Family>()

  function cell(kind: Kind, name: string, help: string, labels: Labels): Cell & Histogram {
    const family = familyOf(kind, name, help)
    const key = seriesOf(labels)
    const known = family.cells.get(key)
    if (known !== undefined) return known
    const made = kind === 'histogram' ? new Buckets(labels) : new Single()
    const text = labelText(labels)
    family.cells.set(key, made)
    family.lines.set(key, () => made.render(name, text))
    return made
  }

  function familyOf(kind: Kind, name: string, help: string): Family {
    const known = families.get(name)
    if (known !== undefined) {
      if (known.kind !== kind) throw new TypeError(`${name} is a ${known.kind}, not a ${kind}`)
      return known
    }
    const family: Family = { kind, help, lines: new Map(), cells: new Map() }
    families.set(name, family)
    return family
  }

  return {
    counter: (name, help, labels = {}) => cell('counter', name, help, labels),
    gauge: (name, help, labels = {}) => cell('gauge', name, help, labels),
    histogram: (name, help, labels = {}) => cell('histogram', name, help, labels),
    sampled(name, help, sample, labels = {}) {
      const text = labelText(labels)
      const line = (): string => `${name}${text} ${spelled(sample())}\n`
      familyOf('gauge', name, help).lines.set(seriesOf(labels), line)
    },
    render() {
      let text = ''
      for (const [name, { kind, help, lines }] of families) {
        text += `# HELP ${name} ${escapedHelp(help)}\n# TYPE ${name} ${kind}\n`
        for (const line of lines.values()) text += line()
      }
      return text
    },
  }
}

class Single implements Cell, Histogram {
  value = 0
  observe(seconds: number): void {
    this.value += seconds
  }
  render(name: string, labels: string): string {
    return `${name}${labels} ${spelled(this.value)}\n`
  }
}

class Buckets implements Cell, Histogram {
  value = 0
  readonly #counts = new Array<number>(BUCKETS.length + 1).fill(0)
  readonly #labels: Labels

  constructor(labels: Labels) {
    this.#labels = labels
  }

  observe(seconds: number): void {
    this.value += seconds
    let bucket = 0
    while (bucket < BUCKETS.length && seconds > BUCKETS[bucket]!) bucket++
    this.#counts[bucket]!++
  }

  render(name: string, labels: string): string {
    let text = ''
    let total = 0
    for (const [index, count] of this.#counts.entries()) {
      total += count
      const le = index < BUCKETS.length ? String(BUCKETS[index]) : '+Inf'
      text += `${name}_bucket${labelText({ ...this.#labels, le })} ${total}\n`
    }
    return `${text}${name}_sum${labels} ${this.value}\n${name}_count${labels} ${total}\n`
  }
}

/** One series is one set of labels, in whatever order they are given. */
function seriesOf(labels: Labels): string {
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

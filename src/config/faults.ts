/** A path into the configuration: keys of mappings and indexes of lists. */
export type Path = readonly (string | number)[]

/** Where a value was written. */
export type Place =
  | {
      readonly file: string
      readonly line?: number
      readonly column?: number
      /** The variables that were replaced in the text. */
      readonly variables?: readonly string[]
    }
  /** An environment variable or a command-line flag that overrode the file. */
  | { readonly variable: string }

export interface Fault {
  /** Absent for a configuration that was passed as an object. */
  readonly place?: Place
  /** For example `routes[0].proxy.upstream`; empty for the whole configuration. */
  readonly path: string
  /** What is wrong, in words. Never holds a secret. */
  readonly message: string
}

/** The configuration cannot be used. Holds every fault that was found, in the order of the file. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly code = 'invalid_configuration'
  readonly faults: readonly Fault[]

  constructor(faults: readonly Fault[]) {
    super(['invalid configuration:', ...faults.map((fault) => `  ${faultText(fault)}`)].join('\n'))
    this.faults = faults
  }
}

/** For example `behalf.yaml:12:7 routes[0].proxy.upstream: must not hold credentials`. */
export function faultText({ place, path, message }: Fault): string {
  const where = [place === undefined ? '' : placeText(place), path].filter((part) => part !== '')
  const from = place !== undefined && 'file' in place ? (place.variables ?? []).join(', ') : ''
  const text = from === '' ? message : `${message} (from ${from})`
  return where.length === 0 ? text : `${where.join(' ')}: ${text}`
}

function placeText(place: Place): string {
  if ('variable' in place) return place.variable
  const { file, line, column } = place
  return line === undefined ? file : `${file}:${line}:${column ?? 1}`
}

export function pathText(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    return text === '' ? step : `${text}.${step}`
  }, '')
}

/** Finds where the value at a path was written. For a missing one, finds the mapping or list that should hold it. */
export type Locate = (path: Path, part: 'key' | 'value') => Place | undefined

/** Called for each file that the configuration is read from, with its text; undefined where it could not be read. */
export type NoteRead = (file: string, text: string | undefined) => void

/** Collects faults, so that all of them can be reported at once. */
export interface Faults {
  readonly noteRead: NoteRead
  add(path: Path, message: string, options?: FaultOptions): void
  /** Whether a fault stands at exactly this path. */
  at(path: Path): boolean
  /** Whether a fault stands at this path or below it. */
  within(path: Path): boolean
  /** @throws {ConfigError} where there are any */
  throwIfAny(): void
}

export interface FaultOptions {
  /** The fault is of this key of the mapping at the path. Its position is the key's. */
  readonly key?: string
  /** The position, where it is already known. */
  readonly place?: Place
}

export function createFaults(locate: Locate, noteRead: NoteRead = () => undefined): Faults {
  const faults: Fault[] = []
  const paths: Path[] = []
  return {
    noteRead,
    add(path, message, { key, place } = {}) {
      const found =
        place ?? (key === undefined ? locate(path, 'value') : locate([...path, key], 'key'))
      faults.push({ ...(found && { place: found }), path: pathText(path), message })
      paths.push(path)
    },
    at: (path) => paths.some((other) => other.length === path.length && startsWith(other, path)),
    within: (path) => paths.some((other) => startsWith(other, path)),
    throwIfAny() {
      if (faults.length > 0) throw new ConfigError(faults.toSorted(byPlace))
    },
  }
}

function startsWith(path: Path, start: Path): boolean {
  return start.every((step, index) => step === path[index])
}

/** Orders faults by their position in the file. Those without one come last. */
function byPlace({ place: left }: Fault, { place: right }: Fault): number {
  return lineOf(left) - lineOf(right) || columnOf(left) - columnOf(right)
}

function lineOf(place: Place | undefined): number {
  return place !== undefined && 'file' in place ? (place.line ?? 0) : Number.MAX_SAFE_INTEGER
}

function columnOf(place: Place | undefined): number {
  return place !== undefined && 'file' in place ? (place.column ?? 0) : 0
}

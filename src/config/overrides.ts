import type { Environment, ReadSecret } from './environment.ts'
import { UnreadableError } from './environment.ts'
import { pathText, type Faults, type Path, type Place } from './faults.ts'
import { suggestion } from './nearest.ts'
import {
  below,
  configurationShape,
  isNamed,
  keysOf,
  shapeAt,
  takes,
  typed,
  type Shape,
} from './shape.ts'

/** A value that overrides the file's, and the name of its origin for messages. */
interface Override {
  readonly variable: string
  readonly path: Path
  readonly value: unknown
}

export interface OverrideOptions {
  readonly environment: Environment
  /** The values of a command's own flags, by path: `{ 'server.listen': '127.0.0.1:0' }`. They override the environment. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly readSecret: ReadSecret
  readonly faults: Faults
}

const PREFIX = 'BEHALF_'

/**
 * Overrides the file's values by those of the environment and the flags, and remembers where each came from.
 * `BEHALF_SERVER__PUBLIC_ORIGIN` is `server.publicOrigin`: two underscores separate levels. Variables without two in a row
 * are ignored, because orchestrators inject `BEHALF_SERVICE_HOST` and the like.
 */
export function overridden(value: unknown, options: OverrideOptions): Overridden {
  const { environment, flags } = options
  const origins = new Map<string, string>()
  let result = value
  const apply = (override: Override | undefined): void => {
    if (override === undefined) return
    result = withValue(result, override.path, override.value)
    origins.set(pathText(override.path), override.variable)
  }
  // In order of their names, so that whole sections in JSON are applied before single values below them.
  for (const name of Object.keys(environment).toSorted()) {
    const text = environment[name]
    if (!name.startsWith(PREFIX) || !name.includes('__') || text === undefined) continue
    apply(fromVariable(name, text, result, options))
  }
  for (const [text, given] of Object.entries(flags)) {
    const path = stepsOf(text)
    if (shapeAt(path) === undefined) throw new TypeError(`no such option: ${text}`)
    const override = typeof given === 'string' ? typed(shapeAt(path), given) : given
    apply({ variable: text, path, value: override })
  }
  return { value: result, placeOf: (path) => originOf(path, origins) }
}

export interface Overridden {
  readonly value: unknown
  /** The variable or flag that set the value at the path, or one above it. */
  readonly placeOf: (path: Path) => Place | undefined
}

function originOf(path: Path, origins: ReadonlyMap<string, string>): Place | undefined {
  for (let length = path.length; length > 0; length--) {
    const variable = origins.get(pathText(path.slice(0, length)))
    if (variable !== undefined) return { variable }
  }
  return undefined
}

function fromVariable(
  variable: string,
  text: string,
  current: unknown,
  { environment, readSecret, faults }: OverrideOptions,
): Override | undefined {
  const refuse = (message: string): undefined => {
    faults.add([], message, { place: { variable } })
  }
  const levels = variable.slice(PREFIX.length).split('__')
  const found = find(levels, current)
  if (typeof found !== 'string') return read(found, text)

  const twin = variable.endsWith('_FILE') ? find(withoutFile(levels), current) : found
  if (typeof twin === 'string' || twin.shape.writeOnly !== true) return refuse(found)
  if (environment[variable.slice(0, -'_FILE'.length)]) {
    return refuse('the same secret is given directly, too: only one of the two may be')
  }
  try {
    return { variable, path: twin.path, value: readSecret(text) }
  } catch (error) {
    if (error instanceof UnreadableError) return refuse(error.message)
    throw error
  }

  function read({ path, shape }: Found, written: string): Override | undefined {
    const isJson = /^\s*[[{]/.test(written)
    const nested = takes(shape, 'array') || takes(shape, 'object')
    if (!nested || (!isJson && takes(shape, 'string'))) {
      return { variable, path, value: typed(shape, written) }
    }
    try {
      if (isJson) return { variable, path, value: JSON.parse(written) as unknown }
    } catch {
      // The error of `JSON.parse` is dropped, because it quotes the text.
    }
    const example = takes(shape, 'array') ? '["first", "second"]' : '{"key": "value"}'
    return refuse(`must be JSON, such as ${example}`)
  }
}

function withoutFile(levels: readonly string[]): readonly string[] {
  return levels.map((level, index) =>
    index === levels.length - 1 ? level.slice(0, -'_FILE'.length) : level,
  )
}

interface Found {
  readonly path: Path
  readonly shape: Shape
}

/** The option that the levels name; text says why there is none. */
function find(levels: readonly string[], current: unknown): Found | string {
  let shape = configurationShape()
  let value = current
  const path: (string | number)[] = []
  for (const level of levels) {
    const [step, ...others] = stepsFor(level, shape, value)
    if (others.length > 0) return `stands for several names: ${[step, ...others].join(', ')}`
    const next = step === undefined ? undefined : below(shape, step)
    if (step === undefined || next === undefined) return unknownLevel(level, path, shape, value)
    path.push(step)
    shape = next
    value = member(value, step)
  }
  return { path, shape }
}

function stepsFor(level: string, shape: Shape, value: unknown): readonly (string | number)[] {
  const keys = candidates(shape, value).filter((name) => asLevel(name, shape) === level)
  // An index may be one past the end, which appends; a larger one would leave holes.
  const length = Array.isArray(value) ? value.length : 0
  const index = /^\d{1,6}$/.test(level) ? Number(level) : Infinity
  return takes(shape, 'array') && index <= length ? [index] : keys
}

/** The keys of the schema. For a mapping of names, such as `issuers`, the names in the file. */
function candidates(shape: Shape, value: unknown): readonly string[] {
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isNamed(shape) ? (isMapping ? Object.keys(value) : []) : keysOf(shape)
}

/** `publicOrigin` is `PUBLIC_ORIGIN`. In names of issuers and APIs case is ignored, and `-` is `_`. */
function asLevel(name: string, shape: Shape): string {
  const split = isNamed(shape) ? name.replaceAll('-', '_') : name.replace(/[A-Z]/g, '_$&')
  return split.toUpperCase()
}

function unknownLevel(level: string, path: Path, shape: Shape, value: unknown): string {
  const where = path.length === 0 ? 'the configuration' : `\`${pathText(path)}\``
  const names = candidates(shape, value).map((name) => asLevel(name, shape))
  return `stands for nothing: ${where} has no \`${level}\`${suggestion(level, names)}`
}

/** A copy with the value at the path. Text or a number in its way is kept: the later checks report it. */
function withValue(current: unknown, path: Path, value: unknown): unknown {
  const [step, ...rest] = path
  if (step === undefined) return value
  const child = withValue(member(current, step), rest, value)
  if (typeof step === 'number') {
    const items: unknown[] = Array.isArray(current) ? [...(current as unknown[])] : []
    items[step] = child
    return items
  }
  if (current === undefined || current === null) return { [step]: child }
  if (typeof current !== 'object' || Array.isArray(current)) return current
  return { ...current, [step]: child }
}

function member(value: unknown, step: string | number): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
  return (value as Record<string | number, unknown>)[step]
}

function stepsOf(text: string): Path {
  return text
    .split(/[.[\]]+/)
    .filter((step) => step !== '')
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step))
}

import type { Environment, ReadSecret } from './environment.ts'
import { UnreadableError } from './environment.ts'
import { pathText, type Faults, type Path } from './faults.ts'
import { below, configurationShape, typed, type Shape } from './shape.ts'

export interface ReplaceOptions {
  readonly environment: Environment
  readonly readSecret: ReadSecret
  readonly faults: Faults
  /** Whether all of the value came from the environment or a flag, where `${` is not replaced. */
  readonly isOverridden: (path: Path) => boolean
  readonly standIn?: StandIn | undefined
  readonly onVariable?: OnVariable | undefined
}

/** Called for each variable that is all of a value, whether or not it is set. */
export type OnVariable = (path: Path, variable: string) => void

/** Supplies a value for an unset or empty variable that is all of a value. Undefined: supplies none. */
export type StandIn = (path: Path, variable: string) => string | undefined

export interface Replaced {
  readonly value: unknown
  /** The variables that the text at a path names. */
  readonly variablesAt: (path: Path) => readonly string[] | undefined
}

/**
 * A copy in which `${NAME}`, `${NAME:-default}` and `${file:/path}` inside strings are replaced. Does NOT replace within the
 * inserted text, since a secret may hold `${`. Does NOT replace in keys.
 */
export function replaced(value: unknown, options: ReplaceOptions): Replaced {
  const above = new Set<unknown>()
  const variables = new Map<string, readonly string[]>()

  function walk(node: unknown, path: Path, shape: Shape | undefined): unknown {
    if (options.isOverridden(path)) return node
    if (typeof node === 'string') {
      if (node.includes('${')) variables.set(pathText(path), variablesIn(node))
      return withValues(node, path, shape, options)
    }
    if (!isPlain(node) && !Array.isArray(node)) return node
    if (above.has(node)) {
      options.faults.add(path, 'holds itself')
      return undefined
    }
    above.add(node)
    const inner = (child: unknown, step: string | number): unknown =>
      walk(child, [...path, step], shape && below(shape, step))
    const copy = Array.isArray(node)
      ? node.map(inner)
      : Object.fromEntries(
          namedEntries(node, path, options.faults).map(([key, child]) => [key, inner(child, key)]),
        )
    above.delete(node)
    return copy
  }

  return {
    value: walk(value, [], configurationShape()),
    variablesAt: (path) => variables.get(pathText(path)),
  }
}

/** Reports the key `__proto__`, which libraries silently ignore. */
function namedEntries(
  node: Record<string, unknown>,
  path: Path,
  faults: Faults,
): readonly (readonly [string, unknown])[] {
  if (Object.hasOwn(node, '__proto__')) {
    faults.add(path, 'unknown key `__proto__`', { key: '__proto__' })
  }
  return Object.entries(node).filter(([key]) => key !== '__proto__')
}

function isPlain(node: unknown): node is Record<string, unknown> {
  if (typeof node !== 'object' || node === null) return false
  const prototype: unknown = Object.getPrototypeOf(node)
  return prototype === Object.prototype || prototype === null
}

const FILE = /^file:(.+)$/s
const VARIABLE = /^([A-Z_][A-Z0-9_]*)(?::-([^]*))?$/

function withValues(
  text: string,
  path: Path,
  shape: Shape | undefined,
  { environment, readSecret, faults, standIn, onVariable }: ReplaceOptions,
): unknown {
  if (!text.includes('${')) return text
  let failed = false
  const refuse = (message: string): string => {
    // A fault at this path also keeps later checks from judging the missing value.
    faults.add(path, message)
    failed = true
    return ''
  }
  const value = text.replace(/\$\{([^}]*)(\}?)/g, (whole, inner: string, end: string) => {
    const [, file] = FILE.exec(inner) ?? []
    const [, name, fallback] = VARIABLE.exec(inner) ?? []
    if (end === '' || inner.includes('${') || (file === undefined && name === undefined)) {
      return refuse(
        'holds a `${` that is none of `${NAME}`, `${NAME:-default}` and `${file:/path}`',
      )
    }
    try {
      if (file !== undefined) return readSecret(file)
      if (whole === text) onVariable?.(path, name!)
      const found = valueOf(name!, environment, readSecret) ?? fallback
      const stood = found === undefined && whole === text ? standIn?.(path, name!) : undefined
      const last = found ?? stood ?? environment[name!]
      return last ?? refuse(`the variable ${name} is not set`)
    } catch (error) {
      if (error instanceof UnreadableError) return refuse(error.message)
      throw error
    }
  })
  return failed ? undefined : typed(shape, value)
}

/** An empty variable counts as unset where there is another value to take, as in a shell's `:-`. */
function valueOf(
  name: string,
  environment: Environment,
  readSecret: ReadSecret,
): string | undefined {
  const value = environment[name]
  if (value !== undefined && value !== '') return value
  const file = environment[`${name}_FILE`]
  return file === undefined || file === '' ? undefined : readSecret(file)
}

/** The variables that a text names, for messages: a fault may be in a variable's value instead of the file. */
function variablesIn(text: string): readonly string[] {
  return [...text.matchAll(/\$\{([A-Z_][A-Z0-9_]*)(?::-[^}]*)?\}/g)].map(([, name]) => name!)
}

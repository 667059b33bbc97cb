import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Pair,
  type YAMLError,
  type YAMLParseError,
} from 'yaml'
import type { Locate, Path, Place } from './faults.ts'

/** A configuration as it was written, before variables are replaced and values checked. */
export interface Source {
  readonly value: unknown
  readonly locate: Locate
  readonly faults: readonly SourceFault[]
  /** Whether the value holds all that was written, so that further faults can be looked for. */
  readonly isReadable: boolean
}

export interface SourceFault {
  readonly place: Place
  readonly message: string
}

/** A configuration that was passed as an object. Its values have no places. */
export function objectSource(value: unknown): Source {
  return { value, locate: () => undefined, faults: [], isReadable: true }
}

/**
 * Reads YAML 1.2 with anchors and merge keys. Duplicate keys, unknown tags, several documents and excessive expansion of
 * aliases are faults.
 *
 * @param file the name that messages give to the file
 */
export function yamlSource(text: string, file: string): Source {
  const lines = new LineCounter()
  // Pretty errors quote the source, and the source may hold secrets.
  let document: Document
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      merge: true,
      prettyErrors: false,
      logLevel: 'error',
    })
  } catch (error) {
    // The parser recurses for each level of nesting, and overflows the stack.
    if (error instanceof RangeError) return unreadable(file, 'is nested too deeply')
    throw error
  }
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { file, line, column: col }
  }
  const faults = [...worthTelling(document.errors), ...document.warnings].map((fault) => ({
    place: placeAt(fault.pos[0]),
    message: faultMessage(fault, text),
  }))
  let isReadable = document.errors.every(({ code }) => code === 'DUPLICATE_KEY')
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    isReadable = false
    faults.push({ place: placeAt(0), message: worded((error as Error).message) })
  }
  const locate: Locate = (path, part) => placeAt(offsetOf(document, path, part))
  return { value, locate, faults, isReadable }
}

/** Only the first syntax error is reported: after it the parser reports errors that are not there. */
function worthTelling(errors: readonly YAMLParseError[]): readonly YAMLParseError[] {
  const first = errors.find(({ code }) => code !== 'DUPLICATE_KEY')
  return errors.filter((error) => error.code === 'DUPLICATE_KEY' || error === first)
}

function faultMessage({ code, message, pos }: YAMLError, text: string): string {
  if (code === 'DUPLICATE_KEY') return 'the mapping has this key already'
  // YAML reads the `{` of an unquoted `${NAME}` as the beginning of a mapping.
  if (text.startsWith('${', pos[0] - 1))
    return '`${NAME}` must stand in quotes inside `{ }` and `[ ]`'
  return worded(message)
}

function unreadable(file: string, message: string): Source {
  const place = { file, line: 1, column: 1 }
  return { value: undefined, locate: () => place, faults: [{ place, message }], isReadable: false }
}

// The parser's messages quote the file after one of these: an alias, a tag or the like.
const QUOTATION = /(?:: | [\\%]).*$/s

/** Removes what the message quotes of the file: a secret that begins with `*`, `!`, `|` or `%` is no plain text to YAML. */
function worded(message: string): string {
  if (message.startsWith('Source contains multiple documents')) {
    return 'the file must hold one YAML document'
  }
  return message.charAt(0).toLowerCase() + message.slice(1).replace(QUOTATION, '')
}

/** The offset of the deepest node on the path: a missing value is reported where it should have stood. */
function offsetOf(document: Document, path: Path, part: 'key' | 'value'): number {
  let node: unknown = document.contents
  let offset = startOf(node) ?? 0
  for (const [index, step] of path.entries()) {
    const pair = pairOf(document, node, step)
    const next: unknown = pair === undefined ? itemOf(document, node, step) : pair.value
    if (pair === undefined && next === undefined) break
    const wanted = part === 'key' && index === path.length - 1 && pair ? pair.key : next
    offset = startOf(wanted) ?? startOf(pair?.key) ?? offset
    node = next
  }
  return offset
}

function startOf(node: unknown): number | undefined {
  return (node as Partial<Node> | null | undefined)?.range?.[0]
}

function itemOf(document: Document, node: unknown, step: string | number): unknown {
  const list = resolved(document, node)
  return isSeq(list) && typeof step === 'number' ? list.items[step] : undefined
}

/** A mapping's own pair, or else one that it merges in. */
function pairOf(
  document: Document,
  node: unknown,
  step: string | number,
  depth = 0,
): Pair | undefined {
  const map = resolved(document, node)
  if (!isMap(map) || depth > 8) return undefined
  const own = map.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
  if (own !== undefined) return own
  for (const { key, value } of map.items) {
    if (!isScalar(key) || key.source !== '<<') continue
    const merged = resolved(document, value)
    for (const from of isSeq(merged) ? merged.items : [merged]) {
      const pair = pairOf(document, from, step, depth + 1)
      if (pair !== undefined) return pair
    }
  }
  return undefined
}

function resolved(document: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node
}

/** How deeply objects and lists may be nested. No claim, key or answer needs as much. */
const DEEPEST = 32

/**
 * Parses JSON, and refuses what two parsers could read differently: an object that names a member twice (RFC 8259, section
 * 4, leaves open which of them counts), a string with an unpaired surrogate (RFC 7493, section 2.1), and more than 32 levels
 * of nesting. Does NOT refuse noncharacters, nor numbers that a double cannot hold.
 *
 * @throws {SyntaxError} whose message quotes nothing of the text, which may be secret
 */
export function parseJson(text: string): unknown {
  assertUnambiguous(text)
  try {
    return JSON.parse(text)
  } catch {
    // The message of `JSON.parse` would quote the text.
    throw new SyntaxError('the text is not JSON')
  }
}

/** As `parseJson`, for text that must hold an object. */
export function parseJsonObject(text: string): Readonly<Record<string, unknown>> {
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SyntaxError('the text is not a JSON object')
  }
  return value as Readonly<Record<string, unknown>>
}

const QUOTE = 0x22
const COMMA = 0x2c
const OPEN_LIST = 0x5b
const BACKSLASH = 0x5c
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** Runs before the parser. Text that is not JSON may pass here: the parser refuses it afterwards. */
function assertUnambiguous(text: string): void {
  /** For each open object, the names that it had so far; for each open list, undefined. */
  const open: (Set<string> | undefined)[] = []
  let isName = false
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(text, at)
        const value = stringAt(text, at, end)
        const names = open.at(-1)
        if (isName && names !== undefined) {
          if (names.has(value)) throw new SyntaxError('an object of the text names a member twice')
          names.add(value)
        }
        isName = false
        at = end
        break
      }
      case OPEN_OBJECT:
      case OPEN_LIST:
        if (open.length === DEEPEST) throw new SyntaxError('the text is nested too deeply')
        isName = text.charCodeAt(at) === OPEN_OBJECT
        open.push(isName ? new Set() : undefined)
        break
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        open.pop()
        isName = false
        break
      case COMMA:
        isName = open.at(-1) !== undefined
        break
    }
  }
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at
    if (code === BACKSLASH) at++
  }
  throw new SyntaxError('the text is not JSON')
}

/** Decodes the string, since one name has many spellings: `"a"` and `"\u0061"` are the same. */
function stringAt(text: string, start: number, end: number): string {
  const spelled = text.slice(start + 1, end)
  if (!spelled.includes('\\')) return spelled
  let value: string
  try {
    value = JSON.parse(text.slice(start, end + 1)) as string
  } catch {
    throw new SyntaxError('the text is not JSON')
  }
  // In UTF-8 all unpaired surrogates become the same bytes: different strings would have one hash.
  if (HALF_CHARACTER.test(value)) throw new SyntaxError('the text holds half a character')
  return value
}

/** In place of `String.prototype.isWellFormed` (ES2024), which the configured TypeScript library does not declare. */
const HALF_CHARACTER = /\p{Surrogate}/u

/** Reads as much of Terraform's language as an export is written in, by its specification and not by our writer. */
import assert from 'node:assert/strict'

export interface Parsed {
  readonly type: string
  readonly labels: readonly string[]
  readonly attributes: Readonly<Record<string, unknown>>
  readonly blocks: readonly Parsed[]
}

/** A name, an opening quote with all up to its end, or a sign. Comments and blanks are none. */
const TOKEN = /#[^\n]*|\s+|("(?:[^"\\]|\\.)*")|([A-Za-z_][\w.-]*)|(-?\d+)|([{}[\],=])/y

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  '"': '"',
  '\\': '\\',
}

/** @throws where a string holds a template, an escape that the language has not, or a line that ends */
function stringOf(token: string): string {
  const inner = token.slice(1, -1)
  assert.ok(!inner.includes('\n'), 'a quoted string ends with its line')
  let text = ''
  const part = /\$\$\{|%%\{|\$\{|%\{|\\u([0-9a-fA-F]{4})|\\(.)|[^]/gu
  for (const [whole, code, escape] of inner.matchAll(part)) {
    assert.ok(whole !== '${' && whole !== '%{', 'a template begins')
    if (whole === '$${' || whole === '%%{') text += whole.slice(1)
    else if (code !== undefined) text += String.fromCharCode(Number.parseInt(code, 16))
    else if (escape !== undefined) {
      assert.ok(escape in ESCAPES, `there is no escape ${whole}`)
      text += ESCAPES[escape]!
    } else text += whole
  }
  return text
}

interface Token {
  readonly kind: 'string' | 'name' | 'number' | 'sign'
  readonly text: string
}

function tokensOf(source: string): Token[] {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < source.length) {
    const at = TOKEN.lastIndex
    const found = TOKEN.exec(source)
    assert.ok(found, `no token at ${JSON.stringify(source.slice(at, at + 40))}`)
    const [, string, name, number, sign] = found
    if (string !== undefined) tokens.push({ kind: 'string', text: stringOf(string) })
    else if (name !== undefined) tokens.push({ kind: 'name', text: name })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (sign !== undefined) tokens.push({ kind: 'sign', text: sign })
  }
  return tokens
}

/** References are read as their text. */
export function parseHcl(source: string): readonly Parsed[] {
  const tokens = tokensOf(source)
  const next = (): Token => {
    const token = tokens.shift()
    assert.ok(token, 'it ends too soon')
    return token
  }
  const value = (): unknown => {
    const token = next()
    if (token.kind === 'string') return token.text
    if (token.kind === 'number') return Number(token.text)
    if (token.kind === 'name') {
      return token.text === 'true' || token.text === 'false' ? token.text === 'true' : token.text
    }
    assert.equal(token.text, '[')
    const items: unknown[] = []
    while (tokens[0]?.text !== ']' || tokens[0].kind !== 'sign') {
      items.push(value())
      if (tokens[0]?.text === ',') next()
    }
    next()
    return items
  }
  const block = (type: string): Parsed => {
    const labels: string[] = []
    while (tokens[0]?.kind === 'string') labels.push(next().text)
    assert.deepEqual(next(), { kind: 'sign', text: '{' })
    const attributes: Record<string, unknown> = {}
    const blocks: Parsed[] = []
    for (let token = next(); token.text !== '}' || token.kind !== 'sign'; token = next()) {
      assert.equal(token.kind, 'name')
      if (tokens[0]?.text === '=' && tokens[0].kind === 'sign') {
        next()
        assert.ok(!(token.text in attributes), `${token.text} stands there twice`)
        attributes[token.text] = value()
      } else blocks.push(block(token.text))
    }
    return { type, labels, attributes, blocks }
  }
  const all: Parsed[] = []
  while (tokens.length > 0) {
    const token = next()
    assert.equal(token.kind, 'name')
    all.push(block(token.text))
  }
  return all
}

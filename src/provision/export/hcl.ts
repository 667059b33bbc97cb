import { escaped } from './objects.ts'

/** A block of Terraform's language. */
export interface Block {
  readonly type: string
  readonly labels: readonly string[]
  /** Attributes that are undefined or null are left out. */
  readonly attributes: Readonly<Record<string, unknown>>
  readonly blocks?: readonly Block[]
}

/** An expression that is written as it is, for example a reference. */
export class Expression {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** The block as `terraform fmt` formats it. */
export function hcl(block: Block): string {
  return `${linesOf(block).join('\n')}\n`
}

function linesOf({ type, labels, attributes, blocks = [] }: Block): readonly string[] {
  const opening = [type, ...labels.map((label) => JSON.stringify(label)), '{'].join(' ')
  const set = Object.entries(attributes).filter(
    ([, value]) => value !== undefined && value !== null,
  )
  const width = Math.max(0, ...set.map(([name]) => name.length))
  const own = set.map(([name, value]) => `  ${name.padEnd(width)} = ${valueOf(value)}`)
  const inner = blocks.map((one) => linesOf(one).map((line) => (line === '' ? '' : `  ${line}`)))
  const body = [own, ...inner].filter((part) => part.length > 0)
  if (body.length === 0) return [`${opening}}`]
  return [opening, ...body.flatMap((part, index) => (index === 0 ? part : ['', ...part])), '}']
}

function valueOf(value: unknown): string {
  if (value instanceof Expression) return value.text
  if (Array.isArray(value)) return `[${value.map(valueOf).join(', ')}]`
  return typeof value === 'string' ? stringOf(value) : JSON.stringify(value)
}

/** Within quotes `${` and `%{` begin a template, unless the sign is doubled; a longer row of signs is written as escapes. */
function stringOf(text: string): string {
  // A lone surrogate is not a character, and Terraform's language has no escape for it.
  const whole = text.replace(/[\ud800-\udfff]/gu, '\ufffd')
  return escaped(JSON.stringify(whole))
    .replace(/\\(.)/g, (pair, one: string) => SPELLED[one] ?? pair)
    .replace(/([$%])(\1*)\{/g, (_, sign: string, more: string) => {
      const code = sign === '$' ? '\\u0024' : '\\u0025'
      return `${code.repeat(more.length)}${sign}${sign}{`
    })
}

/** JSON's short escapes that Terraform's language lacks. */
const SPELLED: Readonly<Record<string, string>> = { b: '\\u0008', f: '\\u000c' }

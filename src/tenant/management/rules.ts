import { Failure } from './failure.ts'

/** Says what is wrong with a value, in the words of Auth0's validator; undefined if it is valid. */
export type Rule = (value: unknown, at: string) => string | undefined

export type Fields = Readonly<Record<string, Rule>>

const complain = (message: string, at: string): string =>
  `'${message}'${at === '' ? '' : ` on property ${at}`}`

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return Number.isInteger(value) ? 'integer' : typeof value
}

function typed(expected: string, judge: Rule): Rule {
  return (value, at) => {
    const found = typeOf(value)
    if (found === expected) return judge(value, at)
    return complain(`Expected type ${expected} but found type ${found}`, at)
  }
}

const well: Rule = () => undefined

export const anything: Rule = well
export const flag: Rule = typed('boolean', well)

/** @param least,most in characters */
export function text(least = 0, most = Infinity, pattern?: RegExp): Rule {
  return typed('string', (value, at) => {
    const string = String(value)
    const { length } = string
    if (length < least)
      return complain(`String is too short (${length} chars), minimum ${least}`, at)
    if (length > most) return complain(`String is too long (${length} chars), maximum ${most}`, at)
    if (pattern?.test(string) === false) {
      return complain(`String does not match pattern ${pattern.source}: ${string}`, at)
    }
    return undefined
  })
}

export function whole(least: number, most = Number.MAX_SAFE_INTEGER): Rule {
  return typed('integer', (value, at) => {
    const number = Number(value)
    if (number < least) return complain(`Value ${number} is less than minimum ${least}`, at)
    if (number > most) return complain(`Value ${number} is greater than maximum ${most}`, at)
    return undefined
  })
}

export function oneOf(...names: readonly string[]): Rule {
  return typed('string', (value, at) => {
    const name = String(value)
    return names.includes(name) ? undefined : complain(`No enum match for: ${name}`, at)
  })
}

export function list(item: Rule, { least = 0, most = Infinity } = {}): Rule {
  return typed('array', (value, at) => {
    const items = value as readonly unknown[]
    const { length } = items
    if (length < least) return complain(`Array is too short (${length}), minimum ${least}`, at)
    if (length > most) return complain(`Array is too long (${length}), maximum ${most}`, at)
    return first(items.map((one, index) => () => item(one, join(at, String(index)))))
  })
}

export interface ObjectOptions {
  readonly required?: readonly string[]
  /** The least number of members. */
  readonly least?: number
  readonly most?: number
  /** Whether other members are allowed. */
  readonly open?: boolean
}

export function object(fields: Fields, options: ObjectOptions = {}): Rule {
  const { required = [], least = 0, most = Infinity, open = false } = options
  return typed('object', (value, at) => {
    const members = Object.entries(value as object)
    const unknown = members.map(([name]) => name).filter((name) => !Object.hasOwn(fields, name))
    const missing = required.find((name) => !Object.hasOwn(value as object, name))
    const { length } = members
    if (unknown.length > 0 && !open) {
      return complain(`Additional properties not allowed: ${unknown.join(',')}`, at)
    }
    if (missing !== undefined) return complain(`Missing required property: ${missing}`, at)
    if (length < least) {
      return complain(`Too few properties defined (${length}), minimum ${least}`, at)
    }
    if (length > most) {
      return complain(`Too many properties defined (${length}), maximum ${most}`, at)
    }
    return first(
      members.map(
        ([name, one]) =>
          () =>
            fields[name]?.(one, join(at, name)),
      ),
    )
  })
}

export function nullable(rule: Rule): Rule {
  return (value, at) => (value === null ? undefined : rule(value, at))
}

function join(at: string, name: string): string {
  return at === '' ? name : `${at}.${name}`
}

function first(judgements: readonly (() => string | undefined)[]): string | undefined {
  for (const judge of judgements) {
    const fault = judge()
    if (fault !== undefined) return fault
  }
  return undefined
}

/**
 * The body of a request, checked by the rule.
 *
 * @throws {Failure} 400 `invalid_body`
 */
export function readBody<Body>(rule: Rule, body: unknown): Body {
  const fault = rule(body, '')
  if (fault === undefined) return body as Body
  throw new Failure(400, 'invalid_body', `Payload validation error: ${fault}.`)
}

/** Fields of an object of a tenant, under Auth0's names. */
export type Fields = Readonly<Record<string, unknown>>

/** Several acceptable values of a field. If the field has none of them, it gets the first. */
export class AnyOf {
  readonly values: readonly [unknown, ...unknown[]]

  constructor(...values: [unknown, ...unknown[]]) {
    this.values = values
  }
}

/**
 * The new value of a field: the wanted one, with whatever the tenant has in addition. Members of objects are merged one by
 * one; lists are united, objects in them by their names; other values are replaced.
 *
 * @returns a value deeply equal to the present one if that is as wanted already
 */
export function merged(there: unknown, wanted: unknown): unknown {
  if (wanted instanceof AnyOf) return wanted.values.includes(there) ? there : wanted.values[0]
  if (Array.isArray(wanted)) return united(Array.isArray(there) ? there : [], wanted)
  if (!isObject(wanted)) return wanted
  const own = isObject(there) ? there : {}
  const members = Object.entries(wanted).map(([name, value]) => [name, merged(own[name], value)])
  return defined({ ...own, ...Object.fromEntries(members) })
}

function united(there: readonly unknown[], wanted: readonly unknown[]): readonly unknown[] {
  const result = [...there]
  for (const item of wanted) {
    const at = result.findIndex((one) => nameOf(one) === nameOf(item))
    if (at < 0) result.push(merged(undefined, item))
    else result[at] = merged(result[at], item)
  }
  return result
}

/** The members that identify an entry of a list: a scope, a type or a policy. */
const NAMES = ['value', 'type', 'audience', 'id'] as const

export function nameOf(item: unknown): unknown {
  if (!isObject(item)) return item
  const name = NAMES.find((one) => Object.hasOwn(item, one))
  return name === undefined ? item : item[name]
}

export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The fields that are not undefined. */
export function defined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

import type { ClaimCondition } from '../config/authorize.ts'

type Claims = Readonly<Record<string, unknown>>

/**
 * Whether claims fulfil a condition. Values are compared exactly, without conversion, case folding or patterns, so that no
 * token can make the comparison slow or change its meaning.
 */
export function fulfils(claims: Claims, condition: ClaimCondition): boolean {
  const value = valueAt(claims, condition.claim)
  switch (condition.test) {
    case 'exists':
      return condition.exists === (value !== undefined)
    case 'oneOf':
      return condition.values.some((one) => one === value)
    case 'contains':
      return Array.isArray(value) && condition.values.every((one) => value.includes(one))
  }
}

/**
 * The value of a claim, or of a member at the end of a path through objects; undefined where it is absent or `null`. Does
 * NOT read inherited properties, and does not enter lists.
 */
export function valueAt(claims: Claims, way: readonly string[]): unknown {
  let value: unknown = claims
  for (const name of way) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    if (!Object.hasOwn(value, name)) return undefined
    value = (value as Claims)[name]
  }
  return value ?? undefined
}

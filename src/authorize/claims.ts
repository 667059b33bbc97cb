import type { ClaimCondition } from '../config/authorize.ts'

type Claims = Readonly<Record<string, unknown>>

/**
 * Whether claims fulfil a condition. Values are compared exactly: no conversion, no folding of case, no patterns, so that
 * nothing in a token can make the comparison slow or mean something else.
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
 * What stands at a claim's name, or at the end of a way through objects; undefined where nothing does, or `null`. Only
 * what the token itself says is seen: nothing that objects inherit, and nothing of lists.
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

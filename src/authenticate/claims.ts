import type { Api } from '../config/config.ts'
import { rejectToken } from './jwt.ts'

/** The claims of a token that can be judged once for all requests. */
export interface StaticClaims {
  readonly claims: Readonly<Record<string, unknown>> & {
    readonly sub: string
    readonly exp: number
    readonly nbf?: number
  }
  readonly scopes: readonly string[]
  readonly permissions: readonly string[]
}

/**
 * Checks audience, subject, and the types of the other claims (RFC 7519, section 4.1; RFC 9068, section 4). Does NOT look at
 * `iss`, by which the keys were chosen, nor judge `exp`, `nbf` and `cnf`, which are judged on every request.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function staticClaims(claims: Readonly<Record<string, unknown>>, api: Api): StaticClaims {
  const { aud, sub, exp, nbf, iat, scope, scp, permissions } = claims
  if (!isFor(aud, api.audience)) rejectToken('the "aud" claim is not acceptable')
  if (typeof sub !== 'string' || sub === '') rejectToken('the "sub" claim must be a string')
  if (!isDate(exp)) rejectToken('the "exp" claim must be a number')
  if (nbf !== undefined && !isDate(nbf)) rejectToken('the "nbf" claim must be a number')
  if (iat !== undefined) {
    const soon = (Date.now() + api.clockToleranceMs) / 1_000
    if (!isDate(iat) || iat > soon) rejectToken('the "iat" claim is not in the past')
  }
  return {
    claims: { ...claims, sub, exp, ...(nbf !== undefined && { nbf }) },
    scopes: [...spaceSeparated(scope, 'scope'), ...scpOf(scp)],
    permissions: strings(permissions, 'permissions'),
  }
}

function isFor(aud: unknown, audience: string): boolean {
  if (typeof aud === 'string') return aud === audience
  const all: readonly unknown[] = Array.isArray(aud) ? aud : []
  return all.includes(audience) && all.every((one) => typeof one === 'string')
}

/** RFC 7519, section 2: a NumericDate. JSON can hold numbers that are read as infinite: an infinite `exp` never comes. */
function isDate(value: unknown): value is number {
  return Number.isFinite(value)
}

function scpOf(scp: unknown): readonly string[] {
  return Array.isArray(scp) ? strings(scp, 'scp') : spaceSeparated(scp, 'scp')
}

/** RFC 6749, section 3.3: printable ASCII, separated by single spaces and nothing else. */
function spaceSeparated(value: unknown, name: string): readonly string[] {
  if (value === undefined || value === '') return []
  if (
    typeof value !== 'string' ||
    !/^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/.test(value)
  ) {
    rejectToken(`the "${name}" claim is not a list of scopes`)
  }
  return value.split(' ')
}

function strings(value: unknown, name: string): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || !value.every((one) => typeof one === 'string')) {
    rejectToken(`the "${name}" claim is not a list of strings`)
  }
  return value
}

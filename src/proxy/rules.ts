import { valueAt } from '../authorize/claims.ts'
import type { HeaderSetting, Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import {
  droppingRequest,
  droppingResponse,
  fateOfRequest,
  fateOfResponse,
  type Judge,
} from './fates.ts'

/** What a route changes of headers, ready for its requests. */
export interface Rules {
  readonly fateOfRequest: Judge
  readonly fateOfResponse: Judge
  /** Of the forwarded request. */
  readonly set: readonly HeaderSetting[]
  /** Of the answer: names and values in turn. */
  readonly answer: readonly string[]
}

const NONE: Rules = { fateOfRequest, fateOfResponse, set: [], answer: [] }
const rules = new WeakMap<Route, Rules>()

export function rulesOf(route: Route): Rules {
  return route.proxy.headers === undefined ? NONE : (rules.get(route) ?? add(route))
}

function add(route: Route): Rules {
  const { request, response } = route.proxy.headers!
  const made: Rules = {
    fateOfRequest: droppingRequest([...request.remove, ...request.set.map(({ name }) => name)]),
    fateOfResponse: droppingResponse([...response.remove, ...response.set.map(([name]) => name)]),
    set: request.set,
    answer: response.set.flat(),
  }
  rules.set(route, made)
  return made
}

type Claims = Readonly<Record<string, unknown>>

/**
 * Adds what the route says in headers. Where a claim is absent, empty or an empty list, so is its header.
 *
 * @throws {GatewayError} `not_permitted`: a claim that cannot stand in a header in one meaning. Without it, the upstream
 *   would take the request for another's
 */
export function addSettings(
  headers: string[],
  settings: readonly HeaderSetting[],
  claims: Claims,
): void {
  for (const { name, before, claim, after } of settings) {
    if (claim === undefined) {
      headers.push(name, before)
      continue
    }
    const value = textOf(valueAt(claims, claim))
    if (value === '') continue
    if (value === undefined || value.length > MAX_LENGTH || !isPlain(value)) {
      const detail = `the claim ${claim.join('.')} cannot be told to the upstream`
      throw new GatewayError('not_permitted', detail)
    }
    headers.push(name, before + wireText(value) + after)
  }
}

const MAX_LENGTH = 2_048

/** Undefined where no text says the same. */
function textOf(value: unknown): string | undefined {
  if (value === undefined) return ''
  if (!Array.isArray(value)) return scalarText(value)
  const texts = value.map(scalarText)
  // One entry could pass for two.
  const areSeparable = texts.every((text) => text !== undefined && /^[^,]+$/.test(text))
  return areSeparable && texts.every((text) => text === text?.trim()) ? texts.join(',') : undefined
}

function scalarText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
}

/** Lines, controls and what cannot be seen make another value of it, and so does space at its ends, which servers drop. */
function isPlain(value: string): boolean {
  return value === value.trim() && !/[\p{C}\p{Zl}\p{Zp}]/u.test(value)
}

/** In UTF-8, as RFC 9110, section 5.5, lets bytes beyond ASCII pass: undici writes one byte for each character. */
function wireText(value: string): string {
  return Buffer.from(value, 'utf8').toString('latin1')
}

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

/** What a route changes in headers, prepared for its requests. */
export interface Rules {
  readonly fateOfRequest: Judge
  readonly fateOfResponse: Judge
  /** Headers that are set on the forwarded request. */
  readonly set: readonly HeaderSetting[]
  /** Headers that are set on the answer: names and values in turn. */
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
 * Adds the headers that the route sets. Where a claim is absent, empty or an empty list, its header is left out.
 *
 * @throws {GatewayError} `not_permitted`: a claim cannot be written in a header without another meaning. Were it left out,
 *   the upstream could take the request for another user's
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

/** Empty where the claim is absent; undefined where no text says the same. */
function textOf(value: unknown): string | undefined {
  if (value === undefined) return ''
  if (!Array.isArray(value)) return scalarText(value)
  const texts = value.map(scalarText)
  // An entry that holds a comma could pass for two.
  const areSeparable = texts.every((text) => text !== undefined && /^[^,]+$/.test(text))
  return areSeparable && texts.every((text) => text === text?.trim()) ? texts.join(',') : undefined
}

function scalarText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
}

/** Whether servers read it unchanged. Line breaks, controls and invisible characters change it; space at its ends is lost. */
function isPlain(value: string): boolean {
  return value === value.trim() && !/[\p{C}\p{Zl}\p{Zp}]/u.test(value)
}

/** UTF-8, in one character for each byte, as undici writes it. RFC 9110, section 5.5, allows bytes beyond ASCII. */
function wireText(value: string): string {
  return Buffer.from(value, 'utf8').toString('latin1')
}

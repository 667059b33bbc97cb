import { parseJson } from '../authenticate/json.ts'
import type { Permit } from '../authorize/authorize.ts'
import type { Seals } from '../store/seal.ts'
import { thumbprintOf } from './binding.ts'
import type { Kept } from './cache.ts'
import { clientOf } from './client.ts'
import { type Confirmed, confirmed } from './confirmation.ts'
import { dpopKeyOf } from './dpop.ts'
import { identityOf, isCertified } from './identity.ts'
import { type IssuedToken, readable } from './issued.ts'
import { isOfToken } from './key.ts'

/** A cache entry as it is shared with other replicas. */
export type Shared = Omit<Kept, 'generation'> & {
  /** When its exchange began, by Redis' own clock, which purges are timed by, in epoch milliseconds. */
  readonly askedAt: number
}

/**
 * What is needed to open an entry in addition to the sealing key: the subject token itself, where the entry's key rests on
 * it. With `key: context`, whose claims can be guessed, and with client credentials the seal rests on the sealing key alone.
 */
export function secretOf(permit: Permit): string {
  return isOfToken(permit) ? permit.subject.value : ''
}

export function sealEntry(seals: Seals, name: string, entry: Shared, secret: string): Buffer {
  const { token, lifeMs, endsAt, renewAt, tags, askedAt } = entry
  const { value, expiresAt, scopes } = token
  // JSON has no infinity: an entry that is never renewed has null.
  const text = JSON.stringify({ value, expiresAt, scopes, lifeMs, endsAt, renewAt, tags, askedAt })
  return seals.seal(name, text, secret)
}

/** Undefined: the value was not sealed for this name and this permit, or holds no entry. */
export function openEntry(
  seals: Seals,
  {
    name,
    value,
    permit,
  }: { readonly name: string; readonly value: Buffer; readonly permit: Permit },
): Shared | undefined {
  const text = seals.open(name, value, secretOf(permit))
  if (text === undefined) return undefined
  const members = parseJson(text) as Readonly<Record<string, unknown>>
  const { value: token, expiresAt, scopes, lifeMs, endsAt, renewAt, tags, askedAt } = members
  if (typeof token !== 'string' || !isTexts(scopes) || !isTexts(tags)) return undefined
  if (!isTime(expiresAt) || !isTime(lifeMs) || !isTime(endsAt) || !isTime(askedAt)) return undefined
  const confirmation = confirmationOf(permit, token)
  if (confirmation === undefined) return undefined
  const issued: IssuedToken = { ...confirmation, value: token, expiresAt, scopes }
  const renewed = isTime(renewAt) ? renewAt : Number.POSITIVE_INFINITY
  return { token: issued, lifeMs, endsAt, renewAt: renewed, tags, askedAt }
}

/**
 * The thumbprint that a token is bound to is a part of the entry's name, so it must be that of the key or certificate that
 * this replica has now. The binding is checked as it was when the token was issued.
 */
function confirmationOf(permit: Permit, token: string): Confirmed | undefined {
  const { bound } = permit.route.exchange
  const client = clientOf(permit)
  const key = bound === 'dpop' && client !== undefined ? dpopKeyOf(client).now() : undefined
  const isShown = bound === 'mtls' && client !== undefined && isCertified(client)
  const identity = isShown ? identityOf(client).now() : undefined
  const thumbprint = (key ?? identity)?.thumbprint ?? ''
  if (thumbprint !== thumbprintOf(permit)) return undefined
  const tokenType = bound === 'dpop' ? 'dpop' : 'bearer'
  const answer = { tokenType, accessToken: token, key, identity }
  const confirmation = confirmed(answer, readable(token), bound)
  return 'wrong' in confirmation ? undefined : confirmation
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

import { parseJson } from '../authenticate/json.ts'
import type { Seals } from '../store/seal.ts'
import type { Descent } from './succession.ts'

/** What Redis keeps about a caller's refresh token. */
export interface SharedLine extends Descent {
  /** The tags it can be purged by. */
  readonly tags: readonly string[]
  /** When its refresh began, by Redis' own clock, which purges are timed by, in epoch milliseconds. */
  readonly askedAt: number
}

/** A refresh token and its name. The token is needed to open what is sealed about it, in addition to the sealing key. */
interface Place {
  readonly name: string
  readonly token: string
}

export function sealLine(seals: Seals, { name, token }: Place, line: SharedLine): Buffer {
  return seals.seal(name, JSON.stringify(line), token)
}

/** Undefined: the value was not sealed for this name and this token, or holds no line. */
export function openLine(
  seals: Seals,
  { name: sealedFor, token, value }: Place & { readonly value: Buffer },
): SharedLine | undefined {
  const text = seals.open(sealedFor, value, token)
  if (text === undefined) return undefined
  const { name, ids, owner, successor, tags, askedAt } = parseJson(text) as Record<string, unknown>
  if (typeof name !== 'string' || typeof askedAt !== 'number') return undefined
  if (!isTexts(ids) || !isTexts(tags)) return undefined
  if (!isTextOrNone(owner) || !isTextOrNone(successor)) return undefined
  return { name, ids, owner, successor, tags, askedAt }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

function isTextOrNone(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}

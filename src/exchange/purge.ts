import type { Permit } from '../authorize/authorize.ts'
import { clientOf } from './client.ts'

/** What is to be forgotten: the tokens of each part that is named, not only those that all parts have in common. */
export interface Purge {
  /** With `subject` or `sid`: the issuer that these are of; default: every issuer. Else: all tokens of this issuer. */
  readonly issuer?: string | undefined
  /** A `sub`. */
  readonly subject?: string | undefined
  /** A session (`sid`). */
  readonly sid?: string | undefined
  /** A client identifier: the one that the subject token was issued to, or the one that exchanged it. */
  readonly client?: string | undefined
}

/**
 * What was purged, and when, counted in purges. A token that was asked for before a purge does not outlive it, even if it
 * was still on its way.
 */
export interface Purges {
  /**
   * Returns the tags that it marked.
   *
   * @throws {TypeError} where nothing is named
   */
  purge(what: Purge): readonly string[]
  /** Marks the tags of a purge that another replica was asked for. */
  mark(tags: readonly string[]): void
  /** Grows with each purge. A token with the present generation was asked for after all purges. */
  readonly generation: number
  /** Whether one of these tags was purged after that generation. */
  reaches(tags: readonly string[], generation: number): boolean
}

/** Beyond that the oldest purge counts as one of everything: that drops more than was asked, never less. */
const REMEMBERED_PURGES = 10_000

export function createPurges(limit = REMEMBERED_PURGES): Purges {
  const marks = new Map<string, number>()
  let generation = 0
  let everything = 0

  function mark(tag: string): void {
    // Deleted first, so that the map stays in the order of the marks.
    marks.delete(tag)
    marks.set(tag, generation)
    if (marks.size <= limit) return
    const [oldest, at] = marks.entries().next().value!
    marks.delete(oldest)
    everything = at
  }

  function markAll(tags: readonly string[]): void {
    generation++
    for (const tag of tags) mark(tag)
  }

  return {
    purge(what) {
      const tags = purgedTags(what)
      if (tags.length === 0) throw new TypeError('a purge names what is to be forgotten')
      markAll(tags)
      return tags
    },
    mark: markAll,
    get generation() {
      return generation
    },
    reaches(tags, since) {
      return everything > since || tags.some((tag) => (marks.get(tag) ?? 0) > since)
    },
  }
}

function purgedTags({ issuer, subject, sid, client }: Purge): readonly string[] {
  const tags: string[] = []
  if (subject !== undefined) tags.push(tag('sub', issuer, subject))
  if (sid !== undefined) tags.push(tag('sid', issuer, sid))
  if (client !== undefined) tags.push(tag('client', undefined, client))
  if (issuer !== undefined && subject === undefined && sid === undefined) {
    tags.push(tag('iss', undefined, issuer))
  }
  return tags
}

/** The claims in which issuers name the client. A token in which two of them differ can be purged by either. */
const CLIENT_CLAIMS = ['azp', 'client_id', 'appid', 'cid']

/** The tags by which an issued token of this permit can be purged. */
export function tagsOf(permit: Permit): readonly string[] {
  const { issuer, subject, claims, api } = permit.subject
  const tags = [
    tag('iss', undefined, issuer),
    tag('sub', issuer, subject),
    tag('sub', undefined, subject),
  ]
  const { sid } = claims
  if (typeof sid === 'string') tags.push(tag('sid', issuer, sid), tag('sid', undefined, sid))
  const named = CLIENT_CLAIMS.map((name) => claims[name])
  for (const client of new Set([...named, api.client?.id, clientOf(permit)?.id])) {
    if (typeof client === 'string') tags.push(tag('client', undefined, client))
  }
  return tags
}

/** Parts are written with their lengths, so that no two combinations give one tag. */
function tag(kind: 'iss' | 'sub' | 'sid' | 'client', issuer = '', value: string): string {
  return `${kind} ${issuer.length} ${issuer} ${value}`
}

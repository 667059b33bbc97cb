import { Failure } from './failure.ts'

export interface Paging {
  /** The name of the list in an answer that has totals or a checkpoint. */
  readonly noun: string
  /** Whether callers may also ask for pages by `from` and `take`. */
  readonly checkpoints: boolean
  /** The smallest `per_page`. */
  readonly least: 0 | 1
}

const USUAL_PAGE = 50
const LARGEST_PAGE = 100

/** The query parameters of paging by number. */
export const PAGE = ['page', 'per_page', 'include_totals'] as const
export const CHECKPOINT = ['from', 'take'] as const

/**
 * One page of a list: by `page` and `per_page`, with a total if the caller asks for it; or by checkpoints, where the next
 * page starts after the last entry of the previous one, whatever was added meanwhile.
 *
 * @param idOf the id by which a checkpoint names an entry
 * @throws {Failure} 400 `invalid_query_string`
 */
export function pageOf<View>(
  views: readonly View[],
  query: URLSearchParams,
  { noun, checkpoints, least }: Paging,
  idOf: (view: View) => string,
): unknown {
  const isByCheckpoint = checkpoints && CHECKPOINT.some((name) => query.has(name))
  if (isByCheckpoint) return fromCheckpoint(views, query, noun, idOf)
  const page = numberOf(query, 'page', 0, Number.MAX_SAFE_INTEGER) ?? 0
  const size = numberOf(query, 'per_page', least, LARGEST_PAGE) ?? USUAL_PAGE
  const start = page * size
  const some = views.slice(start, start + size)
  if (!flagOf(query, 'include_totals')) return some
  return { start, limit: size, total: views.length, [noun]: some }
}

function fromCheckpoint<View>(
  views: readonly View[],
  query: URLSearchParams,
  noun: string,
  idOf: (view: View) => string,
): unknown {
  const size = numberOf(query, 'take', 1, LARGEST_PAGE) ?? USUAL_PAGE
  const from = query.get('from')
  const before = from === null ? -1 : views.findIndex((view) => checkpoint(idOf(view)) === from)
  if (from !== null && before < 0) invalid('Invalid checkpoint', 'from')
  const some = views.slice(before + 1, before + 1 + size)
  const last = some.at(-1)
  const isLast = before + 1 + size >= views.length
  return {
    [noun]: some,
    ...(isLast || last === undefined ? {} : { next: checkpoint(idOf(last)) }),
  }
}

/** Encoded, so that callers do not mistake it for an id. */
function checkpoint(id: string): string {
  return Buffer.from(`after ${id}`).toString('base64url')
}

function numberOf(
  query: URLSearchParams,
  name: string,
  least: number,
  most: number,
): number | undefined {
  const given = query.get(name)
  if (given === null) return undefined
  const number = /^\d{1,15}$/.test(given) ? Number(given) : Number.NaN
  if (Number.isNaN(number)) invalid('Expected type integer but found type string', name)
  if (number < least) invalid(`Value ${given} is less than minimum ${least}`, name)
  if (number > most) invalid(`Value ${given} is greater than maximum ${most}`, name)
  return number
}

/** @throws {Failure} 400 `invalid_query_string` */
export function flagOf(query: URLSearchParams, name: string): boolean | undefined {
  const given = query.get(name)
  if (given === null) return undefined
  if (given !== 'true' && given !== 'false') {
    invalid('Expected type boolean but found type string', name)
  }
  return given === 'true'
}

/** @throws {Failure} 400 `invalid_query_string` */
export function assertKnown(query: URLSearchParams, known: readonly string[]): void {
  const unknown = [...new Set(query.keys())].filter((name) => !known.includes(name))
  if (unknown.length > 0) invalid(`Additional properties not allowed: ${unknown.join(',')}`)
}

export function invalid(message: string, at?: string): never {
  const where = at === undefined ? '' : ` on property ${at}`
  const text = `Query validation error: '${message}'${where}.`
  throw new Failure(400, 'invalid_query_string', text)
}

import type { Given, Line as Lines } from '../store/turns.ts'
import { BACKGROUND, COMING, type Rank, TOLD } from './line.ts'

/** The last answer about the budget that replicas share. */
export interface Known extends Given {
  /** When it came, in epoch milliseconds. */
  readonly at: number
  readonly burst: number
}

/**
 * When an exchange without a leased turn will have one, with so many of its own replica before it, in epoch milliseconds.
 * Replicas alternate: for each turn of this replica each other one has a turn, as long as an exchange of the same or an
 * earlier rank waits there. Callers that were told to come back by then go first, as far as they come.
 */
export function prospect(known: Known, rank: Rank, ahead: number): number {
  const elsewhere = known.others.reduce(
    (sum, line) => sum + Math.min(upTo(line, rank), ahead + 1),
    0,
  )
  const behind = (more: number): number => beginOf(known, ahead + elsewhere + more)
  return rank === TOLD ? behind(0) : behind(expected(known, behind))
}

/** When the turn after so many others begins, in epoch milliseconds. */
export function beginOf({ at, pauseMs, fullMs, everyMs, burst }: Known, after: number): number {
  return at + Math.max(0, pauseMs, fullMs + (after + 1 - burst) * everyMs)
}

function upTo({ told, coming, background }: Lines, rank: Rank): number {
  return told + (rank >= COMING ? coming : 0) + (rank === BACKGROUND ? background : 0)
}

/** How many callers to expect back before a turn, which each of them moves further away. */
function expected({ at, promised, kept }: Known, behind: (more: number) => number): number {
  let more = 0
  for (const [second, many] of promised.entries()) {
    if (second > 0 && at + (second - 1) * 1_000 > behind(more)) break
    more += many * kept
  }
  return more
}

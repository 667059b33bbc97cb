import type { Given, Line as Lines } from '../store/turns.ts'
import { BACKGROUND, COMING, type Rank, TOLD } from './line.ts'

/** What was told of the budget that replicas share. */
export interface Known extends Given {
  /** When it was told, in epoch milliseconds. */
  readonly at: number
  readonly burst: number
}

/**
 * When the next turn begins that nobody has, and when those after it do: for one who has so many of its own replica before
 * it, in epoch milliseconds. The replicas have their turns in turn: for each of mine each other has one, as long as somebody
 * waits there who goes as early. Who was told to come back by then goes first, if it comes.
 */
export function prospect(known: Known, rank: Rank, ahead: number): number {
  const elsewhere = known.others.reduce(
    (sum, line) => sum + Math.min(upTo(line, rank), ahead + 1),
    0,
  )
  const behind = (more: number): number => beginOf(known, ahead + elsewhere + more)
  return rank === TOLD ? behind(0) : behind(expected(known, behind))
}

/** When the turn after so many begins, in epoch milliseconds. */
export function beginOf({ at, pauseMs, fullMs, everyMs, burst }: Known, after: number): number {
  return at + Math.max(0, pauseMs, fullMs + (after + 1 - burst) * everyMs)
}

function upTo({ told, coming, background }: Lines, rank: Rank): number {
  return told + (rank >= COMING ? coming : 0) + (rank === BACKGROUND ? background : 0)
}

/** Of those who were told to come back, how many will have by a turn that each of them moves on. */
function expected({ at, promised, kept }: Known, behind: (more: number) => number): number {
  let more = 0
  for (const [second, many] of promised.entries()) {
    if (second > 0 && at + (second - 1) * 1_000 > behind(more)) break
    more += many * kept
  }
  return more
}

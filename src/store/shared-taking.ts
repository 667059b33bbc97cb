import type { Redis, Reply } from './redis.ts'
import { LARGEST_BYTES, script } from './shared.ts'

/** What was taken out of the store. */
export interface TakenOut {
  /** By the names that were asked for. `oversized`: something was there that is not ours. */
  readonly values: readonly (Buffer | 'oversized' | undefined)[]
  /** When one of them was refused last, or marked; 0: never. Milliseconds of Redis' own clock, like all times here. */
  readonly refusedAt: number
  readonly markedAt: number
  /** When it was looked up: what is put by whoever takes now is from then. */
  readonly at: number
}

export interface Putting {
  readonly name: string
  readonly value: Buffer
  readonly ttlMs: number
  /** When the one who puts it has taken: the fence. */
  readonly takenAt: number
}

/**
 * What one alone may use, of all replicas: taking it removes it, so that the taker owns it and nobody waits for it. A taker that
 * dies takes it along. Each method is one round trip, and answers `undefined` where there is no answer in time: then it may be
 * done or not.
 */
export interface SharedTakingStore {
  take(names: readonly string[], marks: readonly string[]): Promise<TakenOut | undefined>
  /** In the place of what is there, unless that is from later, or was refused since. Whether it is there now. */
  put(putting: Putting): Promise<boolean | undefined>
  /** Takes it out, also from those who have it in hand: what they put is not kept. Whether all of it was done. */
  refuse(names: readonly string[], forMs: number): Promise<boolean>
  /** Whether anything is sent at all: what is not is not done. */
  readonly isConnected: boolean
}

/** A value that is put back is kept for a short time only: it is wanted soon or never. */
const PUT_BACK_FOR_MS = 3_600_000
/** By so much may the clocks of the nodes of a Cluster differ. */
const CLOCKS_APART_MS = 2_000

// A value is the time of its fence, a space, and what is kept; with nothing after the space it was refused at that time.
const TIME = `
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
`
// In one step, or two take the same. A refusal stays where it is.
const TAKE = script(`${TIME}
local size = redis.call('STRLEN', KEYS[1])
if size == 0 then return { at } end
local there = ''
if size <= tonumber(ARGV[1]) then there = redis.call('GET', KEYS[1]) end
if not string.find(there, '^%d+ $') then redis.call('DEL', KEYS[1]) end
return { at, there }
`)
// In one step, or what was refused in between is back.
const PUT = script(`
local size = redis.call('STRLEN', KEYS[1])
if size > 0 and size <= tonumber(ARGV[4]) then
  local at, kept = string.match(redis.call('GET', KEYS[1]), '^(%d+) (.*)$')
  local fence = tonumber(ARGV[3])
  if at and (tonumber(at) > fence or (kept == '' and tonumber(at) == fence)) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[3] .. ' ' .. ARGV[1], 'PX', ARGV[2])
return 1
`)
// By Redis' own clock, which the fences are of.
const REFUSE = script(`${TIME}
redis.call('SET', KEYS[1], string.format('%.0f ', at), 'PX', ARGV[1])
return at
`)
const MARK = script(`
if redis.call('STRLEN', KEYS[1]) > 32 then return '' end
return redis.call('GET', KEYS[1])
`)

/** One key a command, whatever it takes: a Cluster has them in several places. */
export function createSharedTakingStore(redis: Redis): SharedTakingStore {
  const largest = String(LARGEST_BYTES)
  const apartMs = redis.isSpread ? CLOCKS_APART_MS : 0
  /** What came when nobody waited for it any more, or without the rest, was taken, and is used by nobody. */
  const putBack = (name: string) => (reply: Reply | undefined) => {
    const there: Reply = isList(reply) ? reply[1] : undefined
    const space = Buffer.isBuffer(there) ? there.indexOf(SPACE) : -1
    if (!Buffer.isBuffer(there) || space < 0 || space === there.length - 1) return
    const fence = there.subarray(0, space).toString()
    const args = [there.subarray(space + 1), String(PUT_BACK_FOR_MS), fence, largest]
    redis.send(PUT, [name], args)
  }
  return {
    get isConnected() {
      return redis.isConnected
    },
    async take(names, marks) {
      const [replies, marked] = await Promise.all([
        Promise.all(names.map((name) => redis.run(TAKE, [name], [largest], putBack(name)))),
        Promise.all(marks.map((mark) => redis.run(MARK, [mark], []))),
      ])
      const known = replies.map(takenOf).filter((one) => one !== undefined)
      if (known.length < names.length || marked.includes(undefined)) {
        for (const [index, reply] of replies.entries()) putBack(names[index]!)(reply)
        return undefined
      }
      const at = Math.min(...known.map((one) => one.at))
      const times = marked.map((mark) => timeOf(mark, at))
      return {
        at,
        values: known.map(({ value }) => value),
        refusedAt: latest(
          known.map(({ refusedAt }) => refusedAt),
          apartMs,
        ),
        markedAt: latest(times, apartMs),
      }
    },
    async put({ name, value, ttlMs, takenAt }) {
      const args = [value, String(Math.max(1, Math.floor(ttlMs))), String(takenAt), largest]
      const reply = await redis.run(PUT, [name], args)
      return reply === 0 || reply === 1 ? reply === 1 : undefined
    },
    async refuse(names, forMs) {
      const refuse = (name: string) => redis.run(REFUSE, [name], [String(forMs)])
      const replies = await Promise.all(names.map(refuse))
      return replies.every((reply) => typeof reply === 'number')
    },
  }
}

function latest(times: readonly number[], apartMs: number): number {
  const time = Math.max(0, ...times)
  return time === 0 ? 0 : time + apartMs
}

interface Found {
  readonly at: number
  readonly value: TakenOut['values'][number]
  readonly refusedAt: number
}

const SPACE = 0x20

/** What does not have the shape of an answer of ours is none. */
function takenOf(reply: Reply | undefined): Found | undefined {
  if (!isList(reply)) return undefined
  const [at, there] = reply
  if (typeof at !== 'number') return undefined
  if (there === undefined) return { at, value: undefined, refusedAt: 0 }
  if (!Buffer.isBuffer(there)) return undefined
  if (there.length === 0) return { at, value: 'oversized', refusedAt: 0 }
  const space = there.indexOf(SPACE)
  // Without a space it is nothing that was put here: it opens for nobody.
  const isRefusal = space === there.length - 1
  return isRefusal
    ? { at, value: undefined, refusedAt: Number(there.subarray(0, space).toString()) || at }
    : { at, value: there.subarray(space + 1), refusedAt: 0 }
}

function isList(reply: Reply | undefined): reply is readonly Reply[] {
  return Array.isArray(reply)
}

/** A mark that cannot be read is one of now: it was set, and nobody knows when. */
function timeOf(reply: Reply | undefined, at: number): number {
  return Buffer.isBuffer(reply) ? Number(reply.toString()) || at : 0
}

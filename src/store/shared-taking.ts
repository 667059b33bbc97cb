import type { Redis, Reply } from './redis.ts'
import { LARGEST_BYTES, script } from './shared.ts'

/** What was taken out of the store. */
export interface TakenOut {
  /** In the order of the names that were asked for. `oversized`: something was there that no replica wrote. */
  readonly values: readonly (Buffer | 'oversized' | undefined)[]
  /** When a name was last refused, and a mark last set; 0: never. Milliseconds of Redis' own clock, like all times here. */
  readonly refusedAt: number
  readonly markedAt: number
  /** When it was taken out. The taker passes this time on when it puts a value back. */
  readonly at: number
}

export interface Putting {
  readonly name: string
  readonly value: Buffer
  readonly ttlMs: number
  /** The fence: when whoever puts the value has taken the one before it. */
  readonly takenAt: number
}

/**
 * Values that only one of all replicas may use: taking a value removes it, so that the taker owns it and nobody waits for
 * it. A taker that dies takes it along. Each method is one round trip. Where no answer comes in time it resolves to
 * `undefined`, or `refuse` to false: then it may have been done or not.
 */
export interface SharedTakingStore {
  take(names: readonly string[], marks: readonly string[]): Promise<TakenOut | undefined>
  /** Replaces what is there, unless that is newer, or was refused since the take. Returns whether the value is there now. */
  put(putting: Putting): Promise<boolean | undefined>
  /** Removes the values. What was taken before is not kept when it is put back. Returns whether all of it was done. */
  refuse(names: readonly string[], forMs: number): Promise<boolean>
  /** Whether there is a connection: without one nothing is sent, and nothing done. */
  readonly isConnected: boolean
}

/** How long a value that is put back is kept, in milliseconds: a short time, since it is wanted soon or never. */
const PUT_BACK_FOR_MS = 3_600_000
/** How far the clocks of a Cluster's nodes may differ, in milliseconds. */
const CLOCKS_APART_MS = 2_000

// A value is the time of its fence, a space, and what is kept. With nothing after the space it is a refusal at that time.
const TIME = `
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
`
// In one step, or else two replicas could take the same value. A refusal stays where it is.
const TAKE = script(`${TIME}
local size = redis.call('STRLEN', KEYS[1])
if size == 0 then return { at } end
local there = ''
if size <= tonumber(ARGV[1]) then there = redis.call('GET', KEYS[1]) end
if not string.find(there, '^%d+ $') then redis.call('DEL', KEYS[1]) end
return { at, there }
`)
// In one step, or else a value that was refused in between would be back.
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
// By Redis' own clock, like the fences.
const REFUSE = script(`${TIME}
redis.call('SET', KEYS[1], string.format('%.0f ', at), 'PX', ARGV[1])
return at
`)
const MARK = script(`
if redis.call('STRLEN', KEYS[1]) > 32 then return '' end
return redis.call('GET', KEYS[1])
`)

/** Sends a command for each key, because a Cluster has them in several places. */
export function createSharedTakingStore(redis: Redis): SharedTakingStore {
  const largest = String(LARGEST_BYTES)
  const apartMs = redis.isSpread ? CLOCKS_APART_MS : 0
  /** Puts back a value that was taken and is not used: its answer came too late, or another one of the take did not. */
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

/** An answer of any other shape than the script's is none. */
function takenOf(reply: Reply | undefined): Found | undefined {
  if (!isList(reply)) return undefined
  const [at, there] = reply
  if (typeof at !== 'number') return undefined
  if (there === undefined) return { at, value: undefined, refusedAt: 0 }
  if (!Buffer.isBuffer(there)) return undefined
  if (there.length === 0) return { at, value: 'oversized', refusedAt: 0 }
  const space = there.indexOf(SPACE)
  // A value without a space was not put by a replica: no seal opens it.
  const isRefusal = space === there.length - 1
  return isRefusal
    ? { at, value: undefined, refusedAt: Number(there.subarray(0, space).toString()) || at }
    : { at, value: there.subarray(space + 1), refusedAt: 0 }
}

function isList(reply: Reply | undefined): reply is readonly Reply[] {
  return Array.isArray(reply)
}

/** A mark that cannot be read counts as set now: it was set, and nobody knows when. */
function timeOf(reply: Reply | undefined, at: number): number {
  return Buffer.isBuffer(reply) ? Number(reply.toString()) || at : 0
}

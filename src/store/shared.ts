import { hash } from 'node:crypto'
import type { Redis, Reply, Script } from './redis.ts'

/** What a look-up found, and who is to fill what was not there. */
export interface Taken {
  /** By the names that were looked up. `oversized`: something is there that is not ours. */
  readonly values: readonly (Buffer | 'oversized' | undefined)[]
  /** When each mark was set last, in milliseconds of Redis' own clock; 0 where it was not. */
  readonly marks: readonly number[]
  /** `mine`: fill it. `held`: somebody else does. `none`: it is there, or claims cannot be had. */
  readonly claim: 'mine' | 'held' | 'none'
  /** Redis' own clock, in epoch milliseconds. */
  readonly at: number
}

export interface Look {
  readonly names: readonly string[]
  readonly marks: readonly string[]
  /** By what a claim is known to be of the one who made it. */
  readonly claimant: string
  /** Claim it although something is there. */
  readonly anew: boolean
}

export interface Filling {
  readonly name: string
  readonly claimant: string
  readonly value: Buffer
  readonly ttlMs: number
}

/** One that purged, told to all. */
export interface Told {
  readonly count: number
  readonly values: readonly Buffer[]
}

/**
 * The second level: entries, claims to fill them, and the times of purges. Each method is one round trip, and one that is
 * not answered in time answers `undefined` or does nothing.
 */
export interface SharedStore {
  take(look: Look): Promise<Taken | undefined>
  /** Keeps the claim for another {@link LEASE_MS}. */
  hold(name: string, claimant: string): Promise<void>
  /** Fills the entry, and gives the claim back in the same step. */
  fill(filling: Filling): Promise<void>
  release(name: string, claimant: string): Promise<void>
  drop(names: readonly string[]): Promise<void>
  /** Sets marks to the present time, and tells it to all. Whether it was done. */
  purge(marks: readonly string[], told: Buffer): Promise<boolean>
  /** What was told after so many. */
  told(after: number): Promise<Told | undefined>
}

/** A claim whose holder died delays the others for so long, at most. */
export const LEASE_MS = 2_000
/** Longer than anything is kept: what was asked for before a purge is gone when its mark goes. */
export const KEPT_AT_MOST_MS = 86_400_000
const MARKED_FOR_MS = KEPT_AT_MOST_MS + 3_600_000
/** A header of Node holds 16 KiB, and so does a token. Nobody's memory is filled by what somebody else wrote. */
export const LARGEST_BYTES = 65_536
const TOLD = 'behalf:purges'
const TOLD_COUNT = 'behalf:purges:count'
const TOLD_MOST = 10_000

function script(source: string): Script {
  return { source, sha1: hash('sha1', source) }
}

// In one step, or two who find nothing both begin. What cannot be written (full, read only) can still be read.
const TAKE = script(`
local names = tonumber(ARGV[1])
local values, found = {}, false
for i = 1, names do
  local size = redis.call('STRLEN', KEYS[1 + i])
  values[i] = false
  if size > tonumber(ARGV[4]) then values[i] = '' elseif size > 0 then values[i] = redis.call('GET', KEYS[1 + i]) end
  if size > 0 then found = true end
end
local marks = {}
if #KEYS > 1 + names then marks = redis.call('MGET', unpack(KEYS, 2 + names)) end
local time = redis.call('TIME')
local claim = 0
if ARGV[5] == '1' or not found then
  local set = redis.pcall('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3])
  if not set then claim = 2 elseif not set.err then claim = 1 end
end
return { claim, time[1] * 1000 + math.floor(time[2] / 1000), values, marks }
`)

// Each only where the claim is still one's own.
const HOLD = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
`)
const RELEASE = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`)

// In one step, or somebody finds neither the claim nor the entry. A full Redis gives the claim back all the same.
const FILL = script(`
redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`)
const DROP = script(`redis.call('DEL', unpack(KEYS))`)

// The time is Redis' own, and the same for all marks. The count grows with each, so that none is missed in a busy
// millisecond, and begins with the time, so that it grows also past a restart that lost it.
const PURGE = script(`
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #KEYS do redis.call('SET', KEYS[i], string.format('%.0f', at), 'PX', ARGV[2]) end
redis.call('SET', KEYS[2], string.format('%.0f', at), 'NX')
local count = redis.call('INCR', KEYS[2])
redis.call('ZADD', KEYS[1], count, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return count
`)
const TELL = script(`
local count = tonumber(redis.call('GET', KEYS[2]) or '0')
local after = tonumber(ARGV[1])
if count == after then return { count, {} } end
if count < after then after = 0 end
return { count, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. after, '+inf') }
`)

/** What the scripts use is a fixed list of commands, in `deploy/redis/users.acl`. */
export function createSharedStore(redis: Redis): SharedStore {
  return {
    async take({ names, marks, claimant, anew }) {
      const keys = [claimOf(names[0]!), ...names, ...marks]
      const args = [names.length, claimant, LEASE_MS, LARGEST_BYTES, anew ? 1 : 0].map(String)
      return takenOf(await redis.run(TAKE, keys, args))
    },
    async hold(name, claimant) {
      await redis.run(HOLD, [claimOf(name)], [claimant, String(LEASE_MS)])
    },
    async fill({ name, claimant, value, ttlMs }) {
      const ttl = String(Math.max(1, Math.floor(Math.min(ttlMs, KEPT_AT_MOST_MS))))
      await redis.run(FILL, [claimOf(name), name], [claimant, value, ttl])
    },
    async release(name, claimant) {
      await redis.run(RELEASE, [claimOf(name)], [claimant])
    },
    async drop(names) {
      await redis.run(DROP, names, [])
    },
    async purge(marks, told) {
      const args = [told, String(MARKED_FOR_MS), String(TOLD_MOST)]
      return (await redis.run(PURGE, [TOLD, TOLD_COUNT, ...marks], args)) !== undefined
    },
    async told(after) {
      const reply = await redis.run(TELL, [TOLD, TOLD_COUNT], [String(after)])
      if (!isList(reply) || typeof reply[0] !== 'number' || !isList(reply[1])) return undefined
      return { count: reply[0], values: reply[1].filter((one) => Buffer.isBuffer(one)) }
    },
  }
}

function claimOf(name: string): string {
  return name.replace('behalf:entry:', 'behalf:claim:')
}

function isList(reply: Reply): reply is readonly Reply[] {
  return Array.isArray(reply)
}

const CLAIMS = ['none', 'mine', 'held'] as const

/** Whatever a server that is none of ours answers: what does not have this shape is no answer. */
function takenOf(reply: Reply): Taken | undefined {
  if (!isList(reply)) return undefined
  const [claimed, at, values, marks] = reply
  const claim = typeof claimed === 'number' ? CLAIMS[claimed] : undefined
  if (claim === undefined || typeof at !== 'number' || !isList(values) || !isList(marks)) {
    return undefined
  }
  return {
    claim,
    at,
    values: values.map((value) =>
      Buffer.isBuffer(value) ? (value.length === 0 ? 'oversized' : value) : undefined,
    ),
    // A mark that cannot be read is one of now: it was set, and nobody knows when.
    marks: marks.map((mark) => (Buffer.isBuffer(mark) ? Number(mark.toString()) || at : 0)),
  }
}

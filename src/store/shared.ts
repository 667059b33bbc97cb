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
  /** By what a claim is known to be of the one who made it; empty: nothing is claimed. */
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
  /** Up to which one it goes. */
  readonly count: number
  readonly purges: readonly {
    readonly value: Buffer
    /** When it was, by Redis' own clock, in epoch milliseconds. */
    readonly at: number
  }[]
}

/**
 * The second level: entries, claims to fill them, and the times of purges. Each method is one round trip, and one that is
 * not answered in time answers `undefined` or does nothing.
 */
export interface SharedStore {
  take(look: Look): Promise<Taken | undefined>
  /** Keeps the claim for another {@link LEASE_MS}. */
  hold(name: string, claimant: string): void
  /** Fills the entry, and gives the claim back in the same step. */
  fill(filling: Filling): void
  release(name: string, claimant: string): void
  drop(names: readonly string[]): void
  /** Keeps what is there for so long from now, in milliseconds. */
  keep(names: readonly string[], ttlMs: number): void
  /**
   * Sets marks to the present time, and tells it to all.
   *
   * @returns that time, by Redis' own clock; undefined where it was not done
   */
  purge(marks: readonly string[], told: Buffer): Promise<number | undefined>
  /** What was told after so many. */
  told(after: number): Promise<Told | undefined>
  /** Whether it is connected to, though it may be late. */
  readonly isConnected: boolean
  /** Resolves when it is there for the first time, or is not to be waited for any more. */
  readonly started: Promise<void>
}

/** A claim whose holder died delays the others for so long, at most. */
export const LEASE_MS = 2_000
/** Longer than anything is kept: what was asked for before a purge is gone when its mark goes. */
export const KEPT_AT_MOST_MS = 86_400_000
const MARKED_FOR_MS = KEPT_AT_MOST_MS + 3_600_000
/** A header of Node holds 16 KiB, and so does a token. Nobody's memory is filled by what somebody else wrote. */
export const LARGEST_BYTES = 65_536
// In a Cluster what stands in the braces says where a key is: these two are in one place, and so are entry and claim.
const TOLD = 'behalf:{purges}'
const TOLD_COUNT = 'behalf:{purges}:count'
const TOLD_MOST = 10_000
/** By so much may the clocks of the nodes of a Cluster differ. */
const CLOCKS_APART_MS = 2_000

export function script(source: string): Script {
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
if ARGV[2] ~= '' and (ARGV[5] == '1' or not found) then
  local set = redis.pcall('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3])
  if not set then claim = 2 elseif not set.err then claim = 1 end
end
return { claim, time[1] * 1000 + math.floor(time[2] / 1000), values, marks }
`)

// An oversized value does not leave Redis either. Checked and read in one step, or it could grow in between.
const SEEK = script(`
if redis.call('STRLEN', KEYS[1]) > tonumber(ARGV[1]) then return '' end
return redis.call('GET', KEYS[1])
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
const KEEP = script(`redis.call('PEXPIRE', KEYS[1], ARGV[1])`)

// The time is Redis' own, and the same for all marks. The count is that time, but grows with each, so that none is missed
// in a busy millisecond; past a restart that lost it, it grows all the same.
const PURGE = script(`
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #KEYS do redis.call('SET', KEYS[i], string.format('%.0f', at), 'PX', ARGV[2]) end
local count = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, at)
redis.call('SET', KEYS[2], string.format('%.0f', count))
redis.call('ZADD', KEYS[1], string.format('%.0f', count), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return at
`)
const MARK = script(`
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', ARGV[1])
return at
`)
const TELL = script(`
local count = tonumber(redis.call('GET', KEYS[2]) or '0')
local after = tonumber(ARGV[1])
if count == after then return { count, {} } end
if count < after then after = 0 end
local lowest = string.format('(%.0f', after)
return { count, redis.call('ZRANGEBYSCORE', KEYS[1], lowest, '+inf', 'WITHSCORES') }
`)

/** What the scripts use is a fixed list of commands, in `deploy/redis/users.acl`. */
export function createSharedStore(redis: Redis): SharedStore {
  const keyed = redis.isSpread ? spread(redis) : together(redis)
  return {
    ...keyed,
    started: redis.started,
    get isConnected() {
      return redis.isConnected
    },
    hold(name, claimant) {
      redis.send(HOLD, [claimOf(name)], [claimant, String(LEASE_MS)])
    },
    fill({ name, claimant, value, ttlMs }) {
      const ttl = String(Math.max(1, Math.floor(Math.min(ttlMs, KEPT_AT_MOST_MS))))
      redis.send(FILL, [claimOf(name), name], [claimant, value, ttl])
    },
    keep(names, ttlMs) {
      for (const name of names) redis.send(KEEP, [name], [String(ttlMs)])
    },
    release(name, claimant) {
      redis.send(RELEASE, [claimOf(name)], [claimant])
    },
    async told(after) {
      const reply = await redis.run(TELL, [TOLD, TOLD_COUNT], [String(after)])
      if (!isList(reply) || typeof reply[0] !== 'number' || !isList(reply[1])) return undefined
      const further = redis.isSpread ? CLOCKS_APART_MS : 0
      return { count: reply[0], purges: purgesOf(reply[1], further) }
    },
  }
}

/** What touches several keys. */
type Keyed = Pick<SharedStore, 'take' | 'drop' | 'purge'>

/** A look-up that nobody waits for any more keeps nobody else from the key. */
function released(redis: Redis, { names, claimant }: Look): (reply: Reply) => void {
  return (reply) => {
    if (takenOf(reply)?.claim === 'mine') redis.send(RELEASE, [claimOf(names[0]!)], [claimant])
  }
}

function lookArgs({ claimant, anew }: Look, names: number): readonly string[] {
  return [names, claimant, LEASE_MS, LARGEST_BYTES, anew ? 1 : 0].map(String)
}

function together(redis: Redis): Keyed {
  return {
    async take(look) {
      const { names, marks } = look
      const keys = [claimOf(names[0]!), ...names, ...marks]
      const tooLate = released(redis, look)
      return takenOf(await redis.run(TAKE, keys, lookArgs(look, names.length), tooLate))
    },
    drop(names) {
      redis.send(DROP, names, [])
    },
    async purge(marks, told) {
      const args = [told, String(MARKED_FOR_MS), String(TOLD_MOST)]
      return timeOf(await redis.run(PURGE, [TOLD, TOLD_COUNT, ...marks], args))
    },
  }
}

/**
 * In a Cluster each key is where its name says, and only an entry and its claim are in one place: a look-up is as many
 * commands as it has keys, sent at once. What is not one step need not be one: a mark that is set while it is looked up is
 * seen by the next. But the clocks are several, so that a mark reaches a little further.
 */
function spread(redis: Redis): Keyed {
  const seek = (key: string): Promise<Reply | undefined> =>
    redis.run(SEEK, [key], [String(LARGEST_BYTES)])
  return {
    async take(look) {
      const [name, ...others] = look.names as readonly [string, ...string[]]
      const tooLate = released(redis, look)
      const [first, ...sought] = await Promise.all([
        redis.run(TAKE, [claimOf(name), name], lookArgs(look, 1), tooLate),
        ...[...others, ...look.marks].map(seek),
      ])
      const taken = takenOf(first)
      if (taken === undefined) return undefined
      if (sought.includes(undefined)) {
        tooLate(first)
        return undefined
      }
      const values = sought.slice(0, others.length).map(valueOf)
      const marks = sought.slice(others.length).map((mark) => markOf(mark, taken.at))
      return {
        ...taken,
        values: [...taken.values, ...values],
        marks: marks.map((mark) => (mark === 0 ? 0 : mark + CLOCKS_APART_MS)),
      }
    },
    drop(names) {
      for (const name of names) redis.send(DROP, [name], [])
    },
    async purge(marks, told) {
      const marked = await Promise.all(
        marks.map((mark) => redis.run(MARK, [mark], [String(MARKED_FOR_MS)])),
      )
      const times = marked.map(timeOf)
      if (times.includes(undefined)) return undefined
      const args = [told, String(MARKED_FOR_MS), String(TOLD_MOST)]
      const at = timeOf(await redis.run(PURGE, [TOLD, TOLD_COUNT], args))
      return at === undefined ? undefined : Math.max(at, ...times.map(Number)) + CLOCKS_APART_MS
    },
  }
}

/** @param flat each value, and its time after it */
function purgesOf(flat: readonly Reply[], furtherMs: number): Told['purges'] {
  return flat.flatMap((value, index) => {
    const at = Number(flat[index + 1])
    if (index % 2 === 1 || !Buffer.isBuffer(value) || !Number.isFinite(at)) return []
    return [{ value, at: at + furtherMs }]
  })
}

function timeOf(reply: Reply | undefined): number | undefined {
  return typeof reply === 'number' ? reply : undefined
}

/** The braces say what of the name decides where it is in a Cluster: the same as of the entry. */
function claimOf(name: string): string {
  return name.replace('behalf:entry:', 'behalf:claim:')
}

function isList(reply: Reply | undefined): reply is readonly Reply[] {
  return Array.isArray(reply)
}

const CLAIMS = ['none', 'mine', 'held'] as const

/** Whatever a server that is none of ours answers: what does not have this shape is no answer. */
function takenOf(reply: Reply | undefined): Taken | undefined {
  if (!isList(reply)) return undefined
  const [claimed, at, values, marks] = reply
  const claim = typeof claimed === 'number' ? CLAIMS[claimed] : undefined
  if (claim === undefined || typeof at !== 'number' || !isList(values) || !isList(marks)) {
    return undefined
  }
  return { claim, at, values: values.map(valueOf), marks: marks.map((mark) => markOf(mark, at)) }
}

function valueOf(reply: Reply): Buffer | 'oversized' | undefined {
  if (!Buffer.isBuffer(reply)) return undefined
  return reply.length === 0 ? 'oversized' : reply
}

/** A mark that cannot be read is one of now: it was set, and nobody knows when. */
function markOf(reply: Reply, at: number): number {
  return Buffer.isBuffer(reply) ? Number(reply.toString()) || at : 0
}

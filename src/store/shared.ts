import { hash } from 'node:crypto'
import type { Redis, Reply, Script } from './redis.ts'

/** What a look-up found, and who is to fill an entry that was not there. */
export interface Taken {
  /** In the order of the names that were looked up. `oversized`: something is there that no replica wrote. */
  readonly values: readonly (Buffer | 'oversized' | undefined)[]
  /** When each mark was set last, in milliseconds of Redis' own clock; 0 where it was not. */
  readonly marks: readonly number[]
  /** `mine`: this claimant is to fill the entry. `held`: another one does. `none`: it is there, or could not be claimed. */
  readonly claim: 'mine' | 'held' | 'none'
  /** Redis' own clock, in epoch milliseconds. */
  readonly at: number
}

export interface Look {
  readonly names: readonly string[]
  readonly marks: readonly string[]
  /** Identifies who makes the claim; empty: nothing is claimed. */
  readonly claimant: string
  /** Claim the entry although it is there. */
  readonly anew: boolean
}

export interface Filling {
  readonly name: string
  readonly claimant: string
  readonly value: Buffer
  readonly ttlMs: number
}

/** The purges that were told to all replicas. */
export interface Told {
  /** The count of the last one: the next question asks for those after it. */
  readonly count: number
  readonly purges: readonly {
    readonly value: Buffer
    /** When the purge was, by Redis' own clock, in epoch milliseconds. */
    readonly at: number
  }[]
}

/**
 * The second level: entries, claims to fill them, and the times of purges. Each method is one round trip. Where no answer
 * comes in time it resolves to `undefined`; it may have been done or not.
 */
export interface SharedStore {
  take(look: Look): Promise<Taken | undefined>
  /** Keeps the claim for another {@link LEASE_MS}. */
  hold(name: string, claimant: string): void
  /** Fills the entry, and gives the claim back in the same step. */
  fill(filling: Filling): void
  release(name: string, claimant: string): void
  drop(names: readonly string[]): void
  /** Sets how long the entries that are there are kept from now on, in milliseconds. */
  keep(names: readonly string[], ttlMs: number): void
  /**
   * Sets marks to the present time, and tells all replicas.
   *
   * @returns that time, by Redis' own clock, in epoch milliseconds; undefined where it was not done
   */
  purge(marks: readonly string[], told: Buffer): Promise<number | undefined>
  /** The purges that were told after this count. */
  told(after: number): Promise<Told | undefined>
  /** Whether there is a connection, though answers may be late. */
  readonly isConnected: boolean
  /** Resolves when Redis is there for the first time, and after 2 s at the latest. */
  readonly started: Promise<void>
}

/** How long a claim lasts, in milliseconds. One whose holder died delays the others for no longer. */
export const LEASE_MS = 2_000
/** The longest that an entry is kept, in milliseconds. Marks last longer: a purged entry is gone before its mark. */
export const KEPT_AT_MOST_MS = 86_400_000
const MARKED_FOR_MS = KEPT_AT_MOST_MS + 3_600_000
/** Far above any token, which has to fit in Node's 16 KiB of headers. Forged values must not fill the gateway's memory. */
export const LARGEST_BYTES = 65_536
// In a Cluster the text in braces decides where a key is: these two are in one place, and so are an entry and its claim.
const TOLD = 'behalf:{purges}'
const TOLD_COUNT = 'behalf:{purges}:count'
const TOLD_MOST = 10_000
/** How far the clocks of a Cluster's nodes may differ, in milliseconds. */
const CLOCKS_APART_MS = 2_000

export function script(source: string): Script {
  return { source, sha1: hash('sha1', source) }
}

// In one step, or else two replicas that find nothing both begin. A Redis that is full or read only can still be read.
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

// An oversized value does not leave Redis. Its size is checked in the same step, or else it could grow in between.
const SEEK = script(`
if redis.call('STRLEN', KEYS[1]) > tonumber(ARGV[1]) then return '' end
return redis.call('GET', KEYS[1])
`)

// Both do nothing unless the claim is still the claimant's.
const HOLD = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
`)
const RELEASE = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`)

// In one step, or else a replica could find neither the claim nor the entry. A full Redis still gives the claim back.
const FILL = script(`
redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`)
const DROP = script(`redis.call('DEL', unpack(KEYS))`)
const KEEP = script(`redis.call('PEXPIRE', KEYS[1], ARGV[1])`)

// The time is Redis' own, and the same for all marks. The count is that time, but at least one more than the last, so that
// no purge of a busy millisecond is missed. As a time it also grows past a restart in which Redis lost it.
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

/** The scripts use the commands that `COMMANDS` lists, and `deploy/redis/users.acl` allows, and no others. */
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

/** The methods that touch several keys. */
type Keyed = Pick<SharedStore, 'take' | 'drop' | 'purge'>

/** If a look-up is answered too late: gives its claim back, so that it does not keep other replicas from the key. */
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
 * In a Cluster only an entry and its claim are in one place: a look-up sends a command for the two and one for each other
 * key, all at once. That is not one step, and need not be: a mark that is set meanwhile is seen by the next look-up. Since
 * the nodes' clocks differ, a mark counts as set two seconds later.
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

/** Leaves the text in braces as it is, so that the claim is in the entry's place in a Cluster. */
function claimOf(name: string): string {
  return name.replace('behalf:entry:', 'behalf:claim:')
}

function isList(reply: Reply | undefined): reply is readonly Reply[] {
  return Array.isArray(reply)
}

const CLAIMS = ['none', 'mine', 'held'] as const

/** An answer of any other shape than the script's is none: the server may not be ours. */
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

/** A mark that cannot be read counts as set now: it was set, and nobody knows when. */
function markOf(reply: Reply, at: number): number {
  return Buffer.isBuffer(reply) ? Number(reply.toString()) || at : 0
}

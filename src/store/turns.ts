import { hash } from 'node:crypto'
import type { Redis, Reply } from './redis.ts'
import { script } from './shared.ts'

/** How many exchanges of one replica wait for a turn and have none yet, by rank: `told` goes first. */
export interface Line {
  /** Exchanges of callers that were told to come back, and did. */
  readonly told: number
  readonly coming: number
  readonly background: number
}

/** A caller that is looked up among those that were told when to come back. */
export interface Caller {
  /** A name that reveals nothing. Empty: nothing is promised to the caller. */
  readonly name: string
  /** `waits`: it is counted in `coming`. `late`: its turn would come too late. `sent`: it had a turn, and was throttled. */
  readonly as: 'waits' | 'late' | 'sent'
  /** Added to the time that it is told, in milliseconds below 1 000. */
  readonly jitterMs: number
}

/** What one replica asks of the budget that all of them share. */
export interface Need {
  readonly replica: string
  /** Exchanges per second; undefined: as many as the issuer takes. */
  readonly rate: number | undefined
  readonly burst: number
  readonly line: Line
  /** At most {@link MOST_CALLERS}. */
  readonly callers: readonly Caller[]
  /** How many replicas there are. */
  readonly replicas: number
  /** Whether it has spent turns of its own share since it asked last. */
  readonly wasAlone: boolean
  /** For how long the issuer wants no requests, as far as this replica knows, in milliseconds. */
  readonly pauseMs: number
  /** How far ahead to count the callers that were told to come back, in seconds. */
  readonly seconds: number
}

/** The answer to a {@link Need}. All times are in milliseconds from the answer on. */
export interface Given {
  /** When each of the turns begins that are given, the first one first. */
  readonly turns: readonly number[]
  /** For each caller: `due`, it was told to come and goes first; `waits`, it stays in line; or seconds to come back in. */
  readonly callers: readonly ('due' | 'waits' | number)[]
  readonly pauseMs: number
  /** Until the bucket is full. */
  readonly fullMs: number
  /** From one turn to the next. */
  readonly everyMs: number
  /** The share of callers that come back when they were told to, 0 to 1. */
  readonly kept: number
  /** The lines of the other replicas. */
  readonly others: readonly Line[]
  /** How many callers are to come back by now, and in each second from now. */
  readonly promised: readonly number[]
}

/** One budget for all replicas. */
export interface SharedTurns {
  /** @returns undefined where no answer comes in time: then each replica spends its own share */
  ask(issuer: string, need: Need): Promise<Given | undefined>
}

/** How far ahead turns are given, in milliseconds. A replica that dies takes those turns with it. */
export const AHEAD_MS = 250
export const MOST_CALLERS = 500
/** The same for a replica that had a turn later than another at which exchanges of the same or an earlier rank wait. */
export const AFTER_OTHERS_MS = 150
const MOST_TURNS = 1_000
/** A replica that has not asked for so long, in milliseconds, has nobody waiting. */
const FRESH_MS = 500
const FORGOTTEN_MS = 10_000
/**
 * Turns that nobody took although somebody waited are made up for: as many as fit in this time, in milliseconds, and at
 * least one. More than within one process, because several replicas are late one after the other.
 */
const MADE_UP_FOR_MS = 250
/** After a replica that spent its own share is back, for how long the others may still spend theirs, in milliseconds. */
const JOINING_MS = 3_000
const LONGEST_PAUSE_MS = 60_000
const LONGEST_TOLD_SECONDS = 60
/** A tolerance far below a clock's resolution, and far above what arithmetic loses by rounding. */
const ROUNDING_MS = 0.001
const KEPT_MS = 120_000

/**
 * The script, with a Lua expression for the time, of the shape that `TIME` answers.
 *
 * It runs in one step, or else two replicas could take the same turn. It keeps the bucket's level, and no times of turns, so
 * that the rate may change; the level is negative where turns are given that begin later. The time is Redis' own, since
 * replicas' clocks differ by more than a turn lasts, and answers are relative to it. The two keys have one hash tag, so that
 * they are in one place of a Cluster.
 */
export function turnsScript(time: string): string {
  return `
local time = ${time}
local now = time[1] * 1000 + time[2] / 1000
local own, every, burst = 'r:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local told, coming, background = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local replicas, pauseMs, seconds = tonumber(ARGV[7]), tonumber(ARGV[9]), tonumber(ARGV[10])

local known, others, gone = {}, {}, {}
local present, toldElsewhere, comingElsewhere, awaited = 1, 0, 0, false
local served, longest, longestTold = 0, nil, nil
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local name, value = fields[i], fields[i + 1]
  if string.sub(name, 1, 2) ~= 'r:' then
    known[name] = tonumber(value)
  else
    local at, t, c, b, last = string.match(value, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
    local age = at and math.abs(now - at) or math.huge
    if at and name == own then served = tonumber(last) end
    if age < ${FRESH_MS} then
      if t + c + b > 0 then awaited = true end
      if name ~= own then
        present = present + 1
        toldElsewhere, comingElsewhere = toldElsewhere + t, comingElsewhere + c
        others[#others + 1], others[#others + 2], others[#others + 3] = tonumber(t), tonumber(c), tonumber(b)
        last = tonumber(last)
        if tonumber(t) > 0 then longestTold = math.min(longestTold or last, last) end
        if t + c > 0 then longest = math.min(longest or last, last) end
      end
    elseif age > ${FORGOTTEN_MS} and name ~= own then gone[#gone + 1] = name end
  end
end

local pause = known.pause or 0
if pauseMs > 0 then pause = math.max(pause, now + pauseMs) end
pause = math.min(pause, now + ${LONGEST_PAUSE_MS})
local from = math.max(now, pause)

local joined = known.joined or 0
if ARGV[8] == '1' then joined = now end
if math.abs(now - joined) < ${JOINING_MS} and present < replicas then every = every * replicas / present end

local owed = 0
if awaited and (known.at or now) >= pause then owed = math.max(1, ${MADE_UP_FOR_MS} / every) end
local level = burst
if known.level and every > 0 then
  level = math.min(burst + owed, known.level + math.max(0, from - known.from) / every)
end
local function begins(ahead) return from + math.max(0, ahead + 1 - level) * every end

local kept = known.kept or 1
local missed = redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - 5000))
redis.call('ZREMRANGEBYSCORE', KEYS[2], string.format('(%.0f', now + 61000), '+inf')
kept = kept * 0.95 ^ missed
local booked = redis.call('ZCARD', KEYS[2])

local answers = {}
for i = 11, #ARGV, 3 do
  local name, as, jitter = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local due = name ~= '' and booked > 0 and tonumber(redis.call('ZSCORE', KEYS[2], name))
  local answer = 0
  if due and (as == 'waits' or (as == 'late' and due - 250 <= now)) then
    redis.call('ZREM', KEYS[2], name)
    booked, kept = booked - 1, kept + 0.05 * (1 - kept)
    if due - 250 <= now then
      answer, told = -1, told + 1
      if as == 'waits' then coming = coming - 1 end
    end
  elseif as ~= 'waits' then
    if due and due > now then
      answer = math.ceil((due - now) / 1000)
    else
      local wait = begins(toldElsewhere + comingElsewhere + told + coming + booked) - now
      answer = math.min(${LONGEST_TOLD_SECONDS}, math.max(1, math.ceil((wait + jitter) / 1000)))
      if answer < ${LONGEST_TOLD_SECONDS} and name ~= '' and every > 0 then
        if not due then booked = booked + 1 end
        redis.call('ZADD', KEYS[2], string.format('%.0f', now + answer * 1000), name)
      end
    end
  end
  answers[#answers + 1] = answer
end

local turns = {}
local function give(wanted, before, longest)
  while wanted > 0 and #turns < ${MOST_TURNS} do
    local ahead = ${AHEAD_MS}
    if longest and longest < served then ahead = ${AFTER_OTHERS_MS} end
    if begins(before) > now + ahead + ${ROUNDING_MS} then break end
    served = now
    turns[#turns + 1] = math.ceil(begins(0) - now - ${ROUNDING_MS})
    if every > 0 then level = level - 1 end
    wanted = wanted - 1
  end
  return wanted
end
told = give(told, 0, longestTold)
coming = give(coming, toldElsewhere, longest)
background = give(background, toldElsewhere + comingElsewhere, longest)

local line = string.format('%.0f %d %d %d %.0f', now, told, coming, background, served)
redis.call('HSET', KEYS[1], 'level', string.format('%.9f', level), 'from', string.format('%.3f', from),
  'pause', string.format('%.0f', pause), 'at', string.format('%.3f', now), 'joined', string.format('%.0f', joined),
  'kept', string.format('%.4f', kept), own, line)
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ${KEPT_MS} + (burst + 1) * every))

local promised = {}
if booked > 0 then
  redis.call('PEXPIRE', KEYS[2], ${KEPT_MS})
  local after = '-inf'
  for i = 0, seconds do
    local to = string.format('%.0f', now + i * 1000)
    promised[i + 1] = redis.call('ZCOUNT', KEYS[2], after, to)
    after = '(' .. to
  end
end
return { turns, answers, others, promised, math.max(0, math.ceil(pause - now)),
  math.ceil(from - now + (burst - level) * every - ${ROUNDING_MS}),  math.floor(every * 1000 + 0.5), math.floor(kept * 1000 + 0.5) }
`
}

const TURNS = script(turnsScript("redis.call('TIME')"))

/** The milliseconds from one turn to the next where nothing but the issuer holds exchanges back. */
const AT_ONCE = 0

/**
 * @param program the script; default: the one that takes the time from Redis' own clock
 */
export function createSharedTurns(redis: Pick<Redis, 'run'>, program = TURNS): SharedTurns {
  return {
    async ask(issuer, need) {
      // A hash without a key: with a sealing key there would be two budgets while keys are rotated. Issuers are no secret.
      const tag = hash('sha256', issuer).slice(0, 32)
      const keys = [`behalf:budget:{${tag}}`, `behalf:told:{${tag}}`]
      return givenOf(await redis.run(program, keys, argumentsOf(need)), need)
    },
  }
}

function argumentsOf(need: Need): readonly string[] {
  const { replica, rate, burst, line, callers, replicas, wasAlone, pauseMs, seconds } = need
  const every = rate === undefined ? AT_ONCE : 1_000 / rate
  return [
    ...[replica, every.toFixed(6), String(burst)],
    ...[line.told, line.coming, line.background].map(String),
    ...[String(replicas), wasAlone ? '1' : '0', String(Math.max(0, Math.ceil(pauseMs)))],
    String(seconds),
    ...callers.flatMap(({ name, as, jitterMs }) => [name, as, String(Math.floor(jitterMs))]),
  ]
}

/** An answer of any other shape than the script's is none. */
function givenOf(reply: Reply | undefined, { callers }: Need): Given | undefined {
  if (!Array.isArray(reply)) return undefined
  const [turns, answers, others, promised, ...rest] = reply as readonly Reply[]
  const lists = [turns, answers, others, promised]
  if (!lists.every(isNumbers) || !isNumbers(rest) || rest.length !== 4) return undefined
  const [given, told, lines, due] = lists
  const [pauseMs, fullMs, everyUs, kept] = rest as [number, number, number, number]
  if (told!.length !== callers.length) return undefined
  return {
    turns: given!,
    callers: told!.map((one) =>
      one < 0 ? 'due' : one === 0 ? 'waits' : Math.min(one, LONGEST_TOLD_SECONDS),
    ),
    // Bounded, because whoever can write to Redis can forge a pause.
    pauseMs: Math.min(pauseMs, LONGEST_PAUSE_MS),
    fullMs,
    everyMs: everyUs / 1_000,
    kept: kept / 1_000,
    others: linesOf(lines!),
    promised: due!,
  }
}

function linesOf(numbers: readonly number[]): readonly Line[] {
  const lines: Line[] = []
  for (let at = 0; at + 2 < numbers.length; at += 3) {
    const [told, coming, background] = numbers.slice(at, at + 3) as [number, number, number]
    lines.push({ told, coming, background })
  }
  return lines
}

function isNumbers(reply: Reply | undefined): reply is readonly number[] {
  return Array.isArray(reply) && reply.every((one) => typeof one === 'number')
}

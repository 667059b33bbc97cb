import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { startIssuer } from '../issuer.ts'
import { type Line, NO_REDIS, type RedisServer, startLine, startRedis } from '../redis.ts'
import { counted } from '../replicas.ts'
import { type Gateway, oneRoute, startGateway, startUpstream, type Scope } from '../system.ts'
import { openCallers, type Ask } from './callers.ts'
import { SECRET, tokenOf } from './faults.ts'
import { Faults, type Load } from './load.ts'
import { type FaultsSize, p99, type Row, suffer, writeTable } from './met.ts'

export const redisFaults: Load = {
  name: 'redis-faults',
  claim: 'no fault of Redis fails a request; writes docs/reliability.md',
  limitMs: 10 * 60_000,
  async judge(scope) {
    const { rows, told } = await judgeRedisFaults(scope, { lastsMs: 5_000, everyMs: 5 })
    writeTable(rows, 'measured with redis')
    const counts = rows.map(({ fault, met: { known, new: fresh } }) => [
      fault,
      `${known.ok + fresh.ok} of ${known.requests + fresh.requests} ok, p99 ${p99(fresh)} ms of new users, ` +
        `shared again after ${Math.round(fresh.recoveryMs)} ms`,
    ])
    return { counts: Object.fromEntries(counts) as Record<string, string>, faults: told }
  },
}

interface Redis {
  readonly server: RedisServer
  readonly line: Line
}

interface Fault {
  readonly name: string
  readonly begin: (redis: Redis) => unknown
  readonly end: (redis: Redis) => unknown
}

const FAULTS: readonly Fault[] = [
  {
    name: 'Redis is killed, and comes back with nothing',
    begin: ({ server }) => server.kill(),
    end: ({ server }) => server.start(),
  },
  {
    name: 'Redis is restarted',
    async begin({ server }) {
      await server.kill()
      await server.start()
    },
    end: () => undefined,
  },
  {
    name: 'Redis is paused (`SIGSTOP`)',
    begin: ({ server }) => server.pause(),
    end: ({ server }) => server.resume(),
  },
  {
    name: 'Redis is full (`maxmemory`, `noeviction`)',
    begin: ({ server }) => server.command('CONFIG', 'SET', 'maxmemory', '1'),
    end: ({ server }) => server.command('CONFIG', 'SET', 'maxmemory', '0'),
  },
  {
    name: 'Redis is read only (a replica)',
    begin: ({ server }) => server.command('REPLICAOF', '127.0.0.1', '1'),
    end: ({ server }) => server.command('REPLICAOF', 'NO', 'ONE'),
  },
  {
    name: 'Redis is slow (200 ms)',
    begin: ({ line }) => (line.delayMs = 200),
    end: ({ line }) => (line.delayMs = 0),
  },
  {
    name: 'the network swallows what is for Redis',
    begin: ({ line }) => line.cut(),
    end: ({ line }) => line.mend(),
  },
]

export const REDIS_FAULT_NAMES = FAULTS.map(({ name }) => name)

const KNOWN = 50
const CALLERS = 100
/** After the end of a fault; the longest pause that anything here may make, and a slow machine. */
const SHARED_WITHIN_MS = 20_000

/** @throws {Error} where there is no redis-server */
export async function judgeRedisFaults(
  scope: Scope,
  size: FaultsSize,
): Promise<{ readonly rows: readonly Row[]; readonly told: readonly string[] }> {
  if (NO_REDIS !== false) throw new Error(NO_REDIS)
  const server = await startRedis(scope)
  const redis: Redis = { server, line: await startLine(scope, server) }
  const world = await startWorld(scope, redis.line.url)
  const found = new Faults()
  const rows: Row[] = []
  for (const { name, begin, end } of FAULTS) {
    let sharedAfterMs: Promise<number> | undefined
    const row = await suffer(
      {
        ...{ fault: name, ask: world.ask, known: world.known, fresh: world.fresh },
        begin: () => begin(redis),
        async end() {
          await end(redis)
          sharedAfterMs = world.shared()
        },
      },
      size,
    )
    row.met.new.recoveryMs = (await sharedAfterMs) ?? 0
    row.met.known.recoveryMs = 0
    rows.push(row)
    judgeRow(row, found)
  }
  return { rows, told: found.told }
}

function judgeRow({ fault, met }: Row, found: Faults): void {
  for (const who of ['known', 'new'] as const) {
    const { requests, failed } = met[who]
    for (const [how, count] of failed) found.add(`${fault}: ${count} ${who} users met ${how}`)
    if (requests === 0) found.add(`${fault}: no request of ${who} users`)
  }
  if (met.new.recoveryMs > SHARED_WITHIN_MS) found.add(`${fault}: nothing is shared after it`)
}

interface World {
  readonly ask: Ask
  readonly known: () => string
  readonly fresh: () => Promise<string>
  /** How long it takes until one gateway finds what the other exchanged, in milliseconds. */
  readonly shared: () => Promise<number>
}

async function startWorld(scope: Scope, url: string): Promise<World> {
  const issuer = await startIssuer(scope)
  const upstream = await startUpstream(scope)
  const configuration = {
    ...oneRoute({
      issuer: issuer.url,
      upstream: upstream.origin,
      api: { algorithms: ['HS256'], signingSecret: SECRET },
    }),
    cache: { redis: { url, sealingKeys: [randomBytes(32).toString('base64')] } },
  }
  const gateways = [
    await startGateway(scope, configuration),
    await startGateway(scope, configuration),
  ] as const
  const asks = [
    await openCallers(scope, gateways[0].origin, CALLERS),
    await openCallers(scope, gateways[1].origin, CALLERS),
  ] as const
  let users = 0
  const fresh = (): Promise<string> => tokenOf(issuer.url, `user-${users++}`)
  const tokens = await Promise.all(Array.from({ length: KNOWN }, fresh))
  for (const ask of asks) await Promise.all(tokens.map((token) => ask('/orders', { token })))
  let next = 0
  let turn = 0
  return {
    ask: (path, asking) => asks[turn++ % 2]!(path, asking),
    known: () => tokens[next++ % KNOWN]!,
    fresh,
    shared: () => sharedAfter(gateways[1], asks, fresh),
  }
}

async function sharedAfter(
  second: Gateway,
  [one, other]: readonly [Ask, Ask],
  fresh: () => Promise<string>,
): Promise<number> {
  const startedAt = performance.now()
  const pastMs = (): number => performance.now() - startedAt
  while (pastMs() <= SHARED_WITHIN_MS) {
    const token = await fresh()
    await one('/orders', { token })
    const before = counted(second, 'hit')
    await other('/orders', { token })
    if (counted(second, 'hit') > before) break
    await sleep(10)
  }
  return pastMs()
}

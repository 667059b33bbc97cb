import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRedis } from '../../src/store/redis.ts'
import { createSharedStore, type Look, type SharedStore } from '../../src/store/shared.ts'
import { NO_REDIS, type RedisServer, startLine, startRedis, until } from '../redis.ts'
import { gatewaysAt, order, purge } from '../replicas.ts'
import { type Scope } from '../system.ts'
import type { Load } from './load.ts'

/** What Redis is asked for and keeps. Printed, and written where it is told. */
export const redisSizes: Load = {
  name: 'redis-sizes',
  claim: 'Redis keeps and is asked for what its page says; writes docs/redis.md',
  limitMs: 2 * 60_000,
  async judge(scope) {
    const sizes = await measureRedis(scope, { lookUps: 50_000 })
    writeSizes(sizes)
    return { counts: sizes.told, faults: sizes.faults }
  },
}

export interface Sizes {
  /** Of an entry beside the issued token, in bytes. */
  readonly entryBytes: number
  readonly told: Readonly<Record<string, string>>
  /** What a request costs more than the page says. */
  readonly faults: readonly string[]
}

/** @throws {Error} where there is no redis-server */
export async function measureRedis(
  scope: Scope,
  { lookUps }: { readonly lookUps: number },
): Promise<Sizes> {
  if (NO_REDIS !== false) throw new Error(NO_REDIS)
  const server = await startRedis(scope)
  const { commands, issuedBytes } = await requests(scope, server)
  const usage = async (pattern: string): Promise<number> => {
    const [name = ''] = (await server.command('KEYS', pattern)) as string[]
    return Number(await server.command('MEMORY', 'USAGE', name))
  }
  const entryBytes = (await usage('behalf:entry:*')) - issuedBytes
  const mark = await usage('behalf:mark:*')
  await server.command('SET', `behalf:claim:{${'n'.repeat(43)}}`, 'c'.repeat(36), 'PX', '60000')
  const claim = await usage('behalf:claim:*')
  const { perSecond, microseconds } = await rate(scope, server, lookUps)
  const expected = { memory: 0, shared: 1, miss: 2 }
  const faults = Object.entries(expected).flatMap(([kind, count]) =>
    commands[kind] === count ? [] : [`${kind}: ${commands[kind]} commands, expected ${count}`],
  )
  return {
    entryBytes,
    faults,
    told: {
      'an entry, beside the issued token': `${entryBytes} bytes`,
      'a mark of a purge': `${mark} bytes`,
      'a claim, while an exchange runs': `${claim} bytes`,
      'commands for a hit in memory': String(commands['memory']),
      'commands for a hit in Redis': String(commands['shared']),
      'commands for a miss': String(commands['miss']),
      'look-ups a second, one connection': `${Math.round(perSecond / 100) * 100}`,
      'processor of Redis for a look-up': `${microseconds.toFixed(0)} µs`,
    },
  }
}

/** Those that begin with an entry's claim: each look-up and each answer does. */
const COMMAND = /\r\nEVALSHA\r\n\$40\r\n[0-9a-f]{40}\r\n\$\d+\r\n\d+\r\n\$\d+\r\nbehalf:claim:/g

async function requests(scope: Scope, server: RedisServer) {
  const line = await startLine(scope, server)
  const all = await gatewaysAt(scope, { url: line.url })
  const [one, other] = [await all.replica(), await all.replica()]
  // Scripts that a server does not know yet are sent twice.
  assertOk(await order(one, await all.issuer.token({ sub: 'first' })))
  const entries = (count: number) =>
    until('it is kept', async () => {
      return ((await server.command('KEYS', 'behalf:entry:*')) as unknown[]).length === count
    })
  await entries(1)
  const token = await all.issuer.token({ sub: 'second' })
  const count = (): number => [...line.sent().toString('latin1').matchAll(COMMAND)].length
  const commands: Record<string, number> = {}
  let before = count()
  for (const [kind, gateway] of [
    ['miss', one],
    ['shared', other],
    ['memory', other],
  ] as const) {
    assertOk(await order(gateway, token))
    await entries(2)
    commands[kind] = count() - before
    before = count()
  }
  await purge(one, { subject: 'third' })
  await until('it is marked', async () => {
    return ((await server.command('KEYS', 'behalf:mark:*')) as unknown[]).length > 0
  })
  const authorization = all.upstream.received.at(-1)?.headers.authorization ?? ''
  return { commands, issuedBytes: authorization.length - 'Bearer '.length }
}

function assertOk(status: number): void {
  if (status !== 200) throw new Error(`a request was answered ${status}`)
}

/** So many at once. */
const WIDTH = 64
const MARKS = 7

async function rate(scope: Scope, { port, command }: RedisServer, lookUps: number) {
  const address = { host: '127.0.0.1', port }
  const redis = createRedis({ servers: { kind: 'single', address }, timeoutMs: 10_000 })
  scope.after(() => redis.close())
  await redis.started
  const store = createSharedStore(redis)
  const name = `behalf:entry:{${'m'.repeat(43)}}`
  store.fill({ name, claimant: '', value: randomBytes(1_600), ttlMs: 60_000 })
  const marks = Array.from({ length: MARKS }, (_, index) => `behalf:mark:${index}`)
  const look = { names: [name], marks, claimant: 'nobody', anew: false }
  await command('CONFIG', 'RESETSTAT')
  const startedAt = performance.now()
  let left = lookUps
  const ask = async (): Promise<void> => {
    while (left-- > 0) await found(store, look)
  }
  await Promise.all(Array.from({ length: WIDTH }, ask))
  const seconds = (performance.now() - startedAt) / 1_000
  const stats = String(await command('INFO', 'commandstats'))
  const [, each = '0'] = /cmdstat_evalsha:.*?usec_per_call=([\d.]+)/.exec(stats) ?? []
  return { perSecond: lookUps / seconds, microseconds: Number(each) }
}

async function found(store: SharedStore, look: Look): Promise<void> {
  const taken = await store.take(look)
  if (!Buffer.isBuffer(taken?.values[0])) throw new Error('a look-up found nothing')
}

const PAGE = 'docs/redis.md'
const BEGIN = '<!-- measured -->\n'
const END = '<!-- /measured -->\n'

function writeSizes({ told }: Sizes): void {
  const rows = Object.entries(told)
  const head = ['Measured', 'Figure'] as const
  const [first, second] = [0, 1].map((at) =>
    Math.max(...[head, ...rows].map((row) => row[at]!.length)),
  )
  const row = ([one, other]: readonly [string, string]): string =>
    `| ${one.padEnd(first!)} | ${other.padEnd(second!)} |\n`
  const table = [row(head), row(['-'.repeat(first!), '-'.repeat(second!)]), ...rows.map(row)]
  const page = readFileSync(PAGE, 'utf8')
  const [before, after] = [page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)]
  writeFileSync(PAGE, `${page.slice(0, before)}\n${table.join('')}\n${page.slice(after)}`)
}

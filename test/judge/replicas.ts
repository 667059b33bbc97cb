import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { NO_REDIS, type RedisServer, startRedis } from '../redis.ts'
import type { Scope } from '../system.ts'
import { Faults, type Finding, type Load } from './load.ts'
import type { ReplicaSetting } from './replica.ts'

export interface ReplicasSize {
  readonly processes: number
  /** Requests for one key at once, over all processes. */
  readonly concurrent: number
  /** Keys that each process is asked for, some at once. */
  readonly keys: number
}

export const replicas: Load = {
  name: 'replicas',
  claim:
    'processes with one Redis make one exchange for each key, and none when all of them are restarted',
  limitMs: 10 * 60_000,
  judge: (scope) => judgeReplicas(scope, { processes: 4, concurrent: 10_000, keys: 1_000 }),
}

/** How long the issuer takes for the one key: all who want it are there by then. */
const SLOW_MS = 6_000
const SLOW_FROM = 1_000
/** Of each replica at once, where there are many keys. */
const WIDTH = 40

/** @throws {Error} where there is no redis-server */
export async function judgeReplicas(
  scope: Scope,
  { processes, concurrent, keys }: ReplicasSize,
): Promise<Finding> {
  if (NO_REDIS !== false) throw new Error(NO_REDIS)
  const faults = new Faults()
  const redis = await startRedis(scope)
  const issuer = await startIssuer(scope)
  issuer.answer = async (form, response) => {
    if (concurrent >= SLOW_FROM && issuer.exchanges.length === 1) await sleep(SLOW_MS)
    else await sleep(100)
    await issuer.issue(form, response)
  }
  const setting = settingOf(issuer, redis)
  const start = (): Promise<readonly Replica[]> =>
    Promise.all(Array.from({ length: processes }, () => startReplica(scope, setting)))
  const running = await start()
  const one = await issuer.token({ sub: 'one' })
  const many = await Promise.all(
    Array.from({ length: keys }, (_, index) => issuer.token({ sub: `user${index}` })),
  )
  const asked = async (
    of: readonly Replica[],
    tokens: readonly string[],
    width = WIDTH,
  ): Promise<number> => {
    const before = issuer.exchanges.length
    for (let from = 0; from < tokens.length; from += width) {
      for (const fault of await askAll(of, tokens.slice(from, from + width))) faults.add(fault)
    }
    return issuer.exchanges.length - before
  }

  const startedAt = performance.now()
  const forOne = await asked(
    running,
    new Array<string>(concurrent / processes).fill(one),
    concurrent,
  )
  const oneMs = performance.now() - startedAt
  faults.unless(forOne, 1, `exchanges for ${concurrent} concurrent misses of one key`)
  const forMany = await asked(running, many)
  faults.unless(forMany, keys, `exchanges for ${keys} keys at ${processes} processes`)
  // What was sent last is there.
  await sleep(200)
  for (const replica of running) await replica.end()
  const afterwards = await start()
  const forNone = await asked(afterwards, [one, ...many])
  faults.unless(forNone, 0, 'exchanges for live entries after a restart of all')
  return {
    counts: {
      [`${concurrent} misses of one key`]: `${forOne} exchange, ${(oneMs / 1_000).toFixed(1)} s`,
      [`${keys} keys, ${processes} times each`]: `${forMany} exchanges`,
      'after a restart of all': `${forNone} exchanges`,
      'in Redis': String(await redis.command('DBSIZE')),
    },
    faults: faults.told,
  }
}

function settingOf(issuer: TestIssuer, { url }: RedisServer): ReplicaSetting {
  return {
    issuer: issuer.url,
    exchange: { timeout: '60s' },
    // What is judged is not how long a machine takes that does all of it at once.
    proxy: { timeout: '2m', connectTimeout: '1m' },
    redis: { url, sealingKeys: [randomBytes(32).toString('base64')] },
  }
}

export interface Replica {
  readonly origin: string
  end(): Promise<void>
}

/** A gateway in a process of its own. */
export async function startReplica(scope: Scope, setting: ReplicaSetting): Promise<Replica> {
  const file = fileURLToPath(new URL('replica.js', import.meta.url))
  const child: ChildProcess = fork(file, [JSON.stringify(setting)], { stdio: 'inherit' })
  const end = async (): Promise<void> => {
    if (child.exitCode !== null) return
    const ended = once(child, 'exit')
    if (child.connected) child.disconnect()
    await ended
  }
  scope.after(end)
  const [origin] = (await once(child, 'message')) as [string]
  return { origin, end }
}

/** Each token at each replica, all at once. What was not answered well, in words. */
async function askAll(
  replicas: readonly Replica[],
  tokens: readonly string[],
): Promise<readonly string[]> {
  const agent = new http.Agent({ keepAlive: false })
  const answers = await Promise.all(
    replicas.flatMap(({ origin }) => tokens.map((token) => ask(agent, origin, token))),
  )
  agent.destroy()
  return answers.filter((answer) => answer !== undefined)
}

/** Whether the upstream was reached with a token of the very user. */
function ask(agent: http.Agent, origin: string, token: string): Promise<string | undefined> {
  const [, payload = ''] = token.split('.')
  const { sub } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: string }
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${token}` }
    http
      .get(`${origin}/orders`, { agent, headers }, (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part: string) => (text += part))
        response.on('end', () => {
          const isOwn = response.statusCode === 200 && text.includes(`"sub":"${sub}"`)
          resolve(isOwn ? undefined : `${sub}: ${response.statusCode} ${text.slice(0, 100)}`)
        })
      })
      .on('error', (error) => resolve(`${sub}: ${error.message}`))
  })
}

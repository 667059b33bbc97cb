/** Redis servers of a test's own, on free ports of loopback, that keep nothing on disk but what they must. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@redis/client'
import type { Authority, Pair } from './certificates.ts'
import { freePort } from './programs.ts'
import type { Scope } from './system.ts'

/** Why tests that need one are skipped here; false where they run. */
export const NO_REDIS: string | false = installed() ? false : 'redis-server is not installed'

function installed(): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export interface RedisServer {
  readonly url: string
  readonly port: number
  /** Sends one command, as the default user. */
  command(...words: (string | Buffer)[]): Promise<unknown>
  /** Stops answering, with its connections open. */
  pause(): void
  resume(): void
  kill(): Promise<void>
  /** Again, on the same port and with nothing in it. */
  start(): Promise<void>
}

/** Of the user that {@link allow} makes. */
export const PASSWORD = 'a-password-of-the-tests'

/** The rules of `deploy/redis/users.acl` for the user of the gateways. */
export function rulesOfUser(): readonly string[] {
  const file = readFileSync('deploy/redis/users.acl', 'utf8')
  const line = file.split('\n').find((one) => one.startsWith('user behalf ')) ?? ''
  return line.split(' ').slice(1)
}

/** Lets a user in who may do what `deploy/redis/users.acl` says, and nothing else. */
export async function allow({ command }: Pick<RedisServer, 'command'>): Promise<void> {
  const rules = rulesOfUser().map((rule) => rule.replace('>CHANGE-ME', `>${PASSWORD}`))
  await command('ACL', 'SETUSER', ...rules)
}

/**
 * The address for a user who may do what `deploy/redis/users.acl` says, and nothing else. Whatever is refused to them stands
 * in `ACL LOG`.
 */
export async function asUser(server: RedisServer): Promise<string> {
  await allow(server)
  return `redis://behalf:${PASSWORD}@127.0.0.1:${server.port}`
}

export function startRedis(t: Scope, ...options: string[]): Promise<RedisServer> {
  return run(t, (port) => ['--port', String(port), ...options])
}

/** One that nobody reaches but by TLS, with a certificate of the authority's. */
export function startTlsRedis(t: Scope, authority: Authority): Promise<RedisServer> {
  const folder = folderOf(t)
  const own = authority.issue('redis.tests')
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const tls = [
    ...['--tls-cert-file', file('certificate', own.certificate)],
    ...['--tls-key-file', file('key', own.key)],
    ...['--tls-ca-cert-file', file('authority', authority.certificate)],
    ...['--tls-auth-clients', 'yes'],
  ]
  const shown = authority.issue('the tests')
  return run(t, (port) => ['--port', '0', '--tls-port', String(port), ...tls], {
    secured: { authority: authority.certificate, shown },
  })
}

export interface RedisCluster {
  /** The masters first, then a replica of the first one. */
  readonly nodes: readonly RedisServer[]
  readonly urls: readonly string[]
}

const SLOTS = 16_384
const MASTERS = 3

/** Three masters, and a replica of the first that takes its place when it is gone. */
export async function startCluster(t: Scope): Promise<RedisCluster> {
  const nodes = await Promise.all(
    Array.from({ length: MASTERS + 1 }, () => {
      const folder = folderOf(t)
      return run(t, async (port) => [
        ...['--port', String(port), '--cluster-enabled', 'yes', '--dir', folder],
        ...['--cluster-port', String(await freePort()), '--cluster-node-timeout', '1000'],
        ...['--cluster-require-full-coverage', 'no', '--cluster-replica-validity-factor', '0'],
        ...['--repl-diskless-sync-delay', '0'],
      ])
    }),
  )
  const [first, ...others] = nodes as [RedisServer, ...RedisServer[]]
  const masters = nodes.slice(0, MASTERS)
  for (const [index, master] of masters.entries()) {
    const [from, to] = [index, index + 1].map((at) => Math.round((at * SLOTS) / MASTERS))
    await master.command('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to! - 1))
    await master.command('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))
  }
  for (const other of others) {
    const bus = (await other.command('CONFIG', 'GET', 'cluster-port')) as Record<string, string>
    const at = [String(other.port), bus['cluster-port'] ?? '']
    await first.command('CLUSTER', 'MEET', '127.0.0.1', ...at)
  }
  const known = async (node: RedisServer): Promise<boolean> => {
    const info = String(await node.command('CLUSTER', 'INFO'))
    return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${nodes.length}`)
  }
  await until('the Cluster is one', async () =>
    (await Promise.all(nodes.map(known))).every(Boolean),
  )
  const replica = nodes.at(-1)!
  await replica.command('CLUSTER', 'REPLICATE', String(await first.command('CLUSTER', 'MYID')))
  await until('the replica follows', () => isFollowing(replica))
  return { nodes, urls: nodes.map(({ url }) => url) }
}

export interface RedisSentinels {
  readonly master: RedisServer
  readonly replica: RedisServer
  readonly sentinel: RedisServer
  /** What the Sentinel calls the master. */
  readonly name: string
}

/** A master with a replica, and a Sentinel that lets the one take the place of the other. */
export async function startSentinel(t: Scope): Promise<RedisSentinels> {
  const name = 'tests'
  const quick = ['--repl-diskless-sync-delay', '0']
  const master = await startRedis(t, ...quick)
  const replica = await startRedis(t, ...quick, '--replicaof', '127.0.0.1', String(master.port))
  await until('the replica follows', () => isFollowing(replica))
  const file = join(folderOf(t), 'sentinel.conf')
  const monitor = `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`
  const times = [`down-after-milliseconds ${name} 300`, `failover-timeout ${name} 3000`]
  const lines = [monitor, ...times.map((time) => `sentinel ${time}`)]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const sentinel = await run(t, (port) => [file, '--sentinel', '--port', String(port)], {
    isBare: true,
  })
  await until('the Sentinel knows the replica', async () =>
    ((await sentinel.command('SENTINEL', 'REPLICAS', name)) as unknown[]).some(
      (one) =>
        JSON.stringify(one).includes('"master-link-status","ok"') ||
        (one as Record<string, unknown>)['master-link-status'] === 'ok',
    ),
  )
  return { master, replica, sentinel, name }
}

/** A way to a server that can be broken. */
export interface Line {
  readonly url: string
  /** Swallows what is on it, in both directions, and lets nobody else in: nothing is closed. */
  cut(): void
  /** Lets new connections through; those that were cut stay so. */
  mend(): void
  /** Answers take so long from now on, in milliseconds. */
  delayMs: number
  /** All that was sent to the server so far. */
  sent(): Buffer
}

export async function startLine(t: Scope, { port }: RedisServer): Promise<Line> {
  let isCut = false
  const sockets = new Set<net.Socket>()
  const sent: Buffer[] = []
  const line = net.createServer((near) => {
    if (isCut) return void near.resume().on('error', () => undefined)
    const far = net.connect(port, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
    }
    near.on('data', (data) => {
      sent.push(data)
      far.write(data)
    })
    near.on('close', () => far.destroy())
    far.on('data', (data) => void setTimeout(() => near.write(data), told.delayMs))
    far.on('close', () => near.destroy())
  })
  line.listen(0, '127.0.0.1')
  await once(line, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    line.close()
  })
  const told: Line = {
    url: `redis://127.0.0.1:${(line.address() as AddressInfo).port}`,
    delayMs: 0,
    sent: () => Buffer.concat(sent),
    cut() {
      isCut = true
      for (const socket of sockets) socket.removeAllListeners('data').resume()
    },
    mend: () => void (isCut = false),
  }
  return told
}

async function isFollowing(replica: RedisServer): Promise<boolean> {
  return String(await replica.command('INFO', 'replication')).includes('master_link_status:up')
}

/** Asks again and again. Longer than anything here takes, however slow the machine, it does not. */
export async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (const startedAt = performance.now(); !(await isSo()); await sleep(20)) {
    if (performance.now() - startedAt > 30_000) throw new Error(`in vain: ${what}`)
  }
}

function folderOf(t: Scope): string {
  const folder = mkdtempSync(join(tmpdir(), 'behalf-redis-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

interface Running {
  readonly secured?: { readonly authority: string; readonly shown: Pair }
  /** Without what a server is told that keeps nothing: a Sentinel. */
  readonly isBare?: boolean
}

type OptionsFor = (port: number) => readonly string[] | Promise<readonly string[]>

/** Somebody else may take a free port before the server does: then it is another one. */
async function run(t: Scope, optionsFor: OptionsFor, running: Running = {}): Promise<RedisServer> {
  for (let tries = 1; ; tries++) {
    const port = await freePort()
    const child = await spawned(port, await optionsFor(port), running)
    if (child !== undefined) return served(t, { port, child, optionsFor, running })
    if (tries === 5) throw new Error('redis-server does not start')
  }
}

/** Undefined where it ended instead of listening. */
async function spawned(
  port: number,
  options: readonly string[],
  { isBare = false }: Running,
): Promise<ChildProcess | undefined> {
  const kept = isBare ? [] : ['--dir', tmpdir(), '--save', '', '--appendonly', 'no']
  // A file of options comes first.
  const bound = isBare ? [...options] : ['--bind', '127.0.0.1', ...kept, ...options]
  const child = spawn('redis-server', bound, { stdio: 'ignore' })
  while (child.exitCode === null && child.signalCode === null) {
    if (await isOpen(port)) return child
    await sleep(20)
  }
  return undefined
}

interface Served {
  readonly port: number
  child: ChildProcess | undefined
  readonly optionsFor: OptionsFor
  readonly running: Running
}

async function served(t: Scope, server: Served): Promise<RedisServer> {
  const { port, optionsFor, running } = server
  const { secured } = running
  let paused = false
  const client = createClient({
    disableClientInfo: true,
    socket: {
      ...{ host: '127.0.0.1', port, reconnectStrategy: () => 20 },
      ...(secured && {
        tls: true,
        ca: secured.authority,
        cert: secured.shown.certificate,
        key: secured.shown.key,
      }),
    },
  } as Parameters<typeof createClient>[0])
  client.on('error', () => undefined)

  async function kill(): Promise<void> {
    const { child } = server
    if (child === undefined || child.exitCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    server.child = undefined
    await ended
  }

  t.after(async () => {
    // Nobody was refused anything who asked as `asUser`.
    if (client.isReady && !paused && running.isBare !== true) {
      assert.deepEqual(await client.sendCommand(['ACL', 'LOG']), [])
    }
    client.destroy()
    await kill()
  })
  await client.connect()
  return {
    ...{ port, kill, url: `${secured ? 'rediss' : 'redis'}://127.0.0.1:${port}` },
    async start() {
      server.child = await spawned(port, await optionsFor(port), running)
      if (server.child === undefined) throw new Error('redis-server does not start again')
      await until('the client is back', () => client.isReady)
    },
    command: (...words) => client.sendCommand(words),
    pause() {
      paused = true
      server.child?.kill('SIGSTOP')
    },
    resume() {
      paused = false
      server.child?.kill('SIGCONT')
    },
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

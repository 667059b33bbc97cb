/** A redis-server of a test's own, on a free port of loopback, that keeps nothing on disk. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@redis/client'
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

const PASSWORD = 'a-password-of-the-tests'

/**
 * The address for a user who may do what `deploy/redis/users.acl` says, and nothing else. Whatever is refused to them stands
 * in `ACL LOG`.
 */
export async function asUser({ port, command }: RedisServer): Promise<string> {
  const file = readFileSync('deploy/redis/users.acl', 'utf8')
  const line = file.split('\n').find((one) => one.startsWith('user behalf ')) ?? ''
  const rules = line.replace('>CHANGE-ME', `>${PASSWORD}`).split(' ').slice(1)
  await command('ACL', 'SETUSER', ...rules)
  return `redis://behalf:${PASSWORD}@127.0.0.1:${port}`
}

export async function startRedis(t: Scope, ...options: string[]): Promise<RedisServer> {
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  let child: ChildProcess | undefined
  let paused = false
  const client = createClient({
    url,
    disableClientInfo: true,
    socket: { reconnectStrategy: () => 20 },
  })
  client.on('error', () => undefined)

  async function start(): Promise<void> {
    const where = ['--bind', '127.0.0.1', '--port', String(port), '--dir', tmpdir()]
    child = spawn('redis-server', [...where, '--save', '', '--appendonly', 'no', ...options], {
      stdio: 'ignore',
    })
    for (let tries = 0; !(await isOpen(port)); tries++) {
      if (tries > 250) throw new Error('redis-server does not start')
      await sleep(20)
    }
    if (!client.isOpen) await client.connect()
  }
  async function kill(): Promise<void> {
    if (child === undefined || child.exitCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    child = undefined
    await ended
  }

  t.after(async () => {
    // Nobody was refused anything who asked as `asUser`.
    if (client.isReady && !paused) assert.deepEqual(await client.sendCommand(['ACL', 'LOG']), [])
    client.destroy()
    await kill()
  })
  await start()
  return {
    ...{ url, port, start, kill },
    command: (...words) => client.sendCommand(words),
    pause() {
      paused = true
      child?.kill('SIGSTOP')
    },
    resume() {
      paused = false
      child?.kill('SIGCONT')
    },
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

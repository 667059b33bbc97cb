/** Programs of the machine that tests start for themselves, on free ports of loopback. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scope } from './system.ts'

/** Why tests that need the program are skipped here; false where they run. */
export function missing(program: string): string | false {
  return spawnSync('which', [program]).status !== 0 && `${program} is not installed`
}

export interface Program {
  readonly program: string
  /** What it is started with, to listen on this port. What it is configured by is written here, into a folder of its own. */
  readonly args: (port: number, folder: string) => readonly string[]
}

/** Somebody else may take a port that was free a moment ago. */
const TRIES = 5

/** Its port, once it listens there. It ends with the test, and so do all processes that it has started. */
export async function startProgram(t: Scope, { program, args }: Program): Promise<number> {
  for (let tries = 1; tries <= TRIES; tries++) {
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), `behalf-${program}-`))
    const running = run(program, args(port, folder), folder)
    t.after(running.end)
    if (await running.listens(port)) return port
    await running.end()
  }
  return assert.fail(`${program} found no port`)
}

function run(program: string, args: readonly string[], folder: string) {
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
    // A group of its own, to end with its workers.
    detached: true,
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = once(child, 'close')
  return {
    /** False where the port was taken. */
    async listens(port: number): Promise<boolean> {
      for (;;) {
        if (/address already in use/i.test(said)) return false
        assert.equal(child.exitCode, null, said)
        if (await isListening(port)) return true
        await sleep(20)
      }
    },
    async end(): Promise<void> {
      endGroup(child)
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function endGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return
  process.kill(-pid, 'SIGKILL')
}

/** Free just now, for whoever must know it before it listens. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function isListening(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

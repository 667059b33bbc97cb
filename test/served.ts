/** `behalf serve` as a process of its own, with the workers that it has. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Scope } from './system.ts'

const MAIN = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))

export type Line = Readonly<Record<string, unknown>>

export interface Served {
  readonly pid: number
  readonly origin: string
  readonly adminOrigin: string
  /** What was logged so far. */
  readonly lines: readonly Line[]
  /** The first line of which this is true, from the given one on; as soon as there is one. */
  until(isIt: (line: Line) => boolean, from?: number): Promise<Line>
  /** Has the file say something else. Nobody is told. */
  configure(configuration: object | string): void
  signal(name: NodeJS.Signals): void
  /** The exit code. */
  readonly ended: Promise<number | null>
}

/** What was said by a process that ended before it served. */
export class NotServed extends Error {
  readonly code: number | null
  constructor(code: number | null, said: string) {
    super(said)
    this.code = code
  }
}

/**
 * Listens when it resolves, by default on free ports. It ends with the scope, and so do its workers.
 *
 * @throws {NotServed} it ended
 */
export async function startServe(
  t: Scope,
  configuration: object,
  argv: readonly string[] = [],
): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'behalf-serve-'))
  const file = join(folder, 'behalf.yaml')
  const configure: Served['configure'] = (given) => {
    const ports = { server: { listen: '127.0.0.1:0' }, admin: { listen: '127.0.0.1:0' } }
    // JSON is YAML.
    const text = typeof given === 'string' ? given : JSON.stringify({ ...ports, ...given })
    writeFileSync(file, text)
  }
  configure(configuration)
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', file, ...argv], {
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, to end with its workers.
    detached: true,
  })
  t.after(async () => {
    endGroup(child)
    rmSync(folder, { recursive: true, force: true })
  })
  const said = new Said(child)
  const listening = await said.until(({ msg }) => msg === 'listening')
  return {
    pid: child.pid!,
    origin: String(listening['origin']),
    adminOrigin: String(listening['admin']),
    lines: said.lines,
    until: (isIt, from) => said.until(isIt, from),
    configure,
    signal: (name) => child.kill(name),
    ended: said.ended,
  }
}

class Said {
  readonly lines: Line[] = []
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess
  #errors = ''
  #rest = ''

  constructor(child: ChildProcess) {
    this.#child = child
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n')
      this.#rest = lines.pop()!
      for (const line of lines) this.lines.push(JSON.parse(line) as Line)
      child.emit('said')
    })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#errors += text))
    this.ended = once(child, 'close').then(([code]) => {
      child.emit('said')
      return code as number | null
    })
  }

  async until(isIt: (line: Line) => boolean, from = 0): Promise<Line> {
    for (;;) {
      const found = this.lines.slice(from).find(isIt)
      if (found !== undefined) return found
      const { exitCode, signalCode, stdout } = this.#child
      if ((exitCode !== null || signalCode !== null) && stdout!.closed) {
        throw new NotServed(exitCode, `${JSON.stringify(this.lines)}\n${this.#errors}`)
      }
      await once(this.#child, 'said')
    }
  }
}

function endGroup({ pid, exitCode }: ChildProcess): void {
  // Who ends by itself ends its workers first, and the number may be somebody else's by now.
  if (exitCode !== null) return
  try {
    process.kill(-pid!, 'SIGKILL')
  } catch {
    // All of them have ended.
  }
}

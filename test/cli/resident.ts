/**
 * The command line in a process that stays. Loading the modules takes several times as long as most commands do: a file
 * with dozens of runs loads them once. That a command ends by itself, what it does with signals, pipes and
 * its standard input, and what Node reads from the environment when it starts are only shown by `behalf`, a process of
 * its own: every command has at least one test with that.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { MAIN, type Ended, type Setting } from './behalf.ts'

interface Run {
  readonly argv: readonly string[]
  readonly cwd: string
  readonly environment: NodeJS.ProcessEnv
}

let resident: ChildProcess | undefined
let last: Promise<unknown> = Promise.resolve()

/** Runs `behalf` to its end; one run begins when the one before it has ended. */
export function behalfAgain(
  argv: readonly string[],
  { cwd = '/', environment = {} }: Setting = {},
): Promise<Ended> {
  const run = { argv, cwd, environment: { PATH: process.env['PATH'], ...environment } }
  const ended = last.then(() => ask(run))
  last = ended.catch(() => undefined)
  return ended
}

async function ask(run: Run): Promise<Ended> {
  resident ??= fork(fileURLToPath(import.meta.url), { execArgv: [] })
  const child = resident
  child.send(run)
  child.channel?.ref()
  const gone = new AbortController()
  const exited = once(child, 'exit', { signal: gone.signal }).then(([code]) => {
    resident = undefined
    throw new Error(`\`behalf ${run.argv.join(' ')}\` ended its process, with ${String(code)}`)
  })
  try {
    const [ended] = (await Promise.race([once(child, 'message'), exited])) as [Ended]
    return ended
  } finally {
    gone.abort()
    await exited.catch(() => undefined)
    // It goes when the tests do: nothing else keeps it.
    child.channel?.unref()
    child.unref()
  }
}

/** What the command writes is taken down; what it leaves behind is put back for the next. */
async function perform({ argv, cwd, environment }: Run, count: number): Promise<Ended> {
  process.chdir(cwd)
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, environment)
  process.argv = [process.execPath, MAIN, ...argv]
  process.exitCode = undefined
  const [out, err] = [takenDown(process.stdout), takenDown(process.stderr)]
  try {
    // Another name is another module: it runs again, and what it imports is there already.
    await import(`${pathToFileURL(MAIN).href}?${count}`)
  } finally {
    out.end()
    err.end()
    process.stdout.removeAllListeners('error')
  }
  const code = Number(process.exitCode)
  process.exitCode = 0
  return { code, out: out.text(), err: err.text() }
}

function takenDown(stream: NodeJS.WriteStream): { text(): string; end(): void } {
  const own = stream.write
  let text = ''
  stream.write = (chunk: string | Uint8Array): boolean => {
    text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()
    return true
  }
  return {
    text: () => text,
    end() {
      stream.write = own
    },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  let count = 0
  process.on('message', (run: Run) => {
    void perform(run, ++count).then((ended) => process.send!(ended))
  })
}

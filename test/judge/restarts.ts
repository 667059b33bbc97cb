import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startIssuer } from '../issuer.ts'
import { missing, startProgram } from '../programs.ts'
import { type Served, startServe } from '../served.ts'
import { bearer, claimsOf, oneRoute, type Scope, startUpstream } from '../system.ts'
import { Faults, type Finding, type Load } from './load.ts'

export interface RestartsSize {
  /** Of both processes, one after the other. */
  readonly restarts: number
  readonly users: number
  readonly callers: number
  /** How long a process goes on serving for a balancer that has not noticed. */
  readonly delay: string
}

export const restarts: Load = {
  name: 'restarts',
  claim: '100 rolling restarts of two processes behind nginx, under load, fail no request',
  limitMs: 60 * 60_000,
  judge: (scope) => judgeRestarts(scope, { restarts: 100, users: 50, callers: 16, delay: '2s' }),
}

/** Between two requests of a caller: what is judged is not how many a machine can serve. */
const PAUSE_MS = 25

/** Why it is skipped here; false where it runs. */
export const NO_NGINX = process.platform === 'linux' ? missing('nginx') : 'it looks into /proc'

/** A round in which nginx was too late to be told is done again: nothing can be said of it. */
const MOST_LATE = 20

/** @throws {Error} where there is no nginx */
export async function judgeRestarts(scope: Scope, size: RestartsSize): Promise<Finding> {
  if (NO_NGINX !== false) throw new Error(NO_NGINX)
  const issuer = await startIssuer(scope)
  const upstream = await startUpstream(scope, ({ headers, body }, response) => {
    response.end(JSON.stringify({ sub: claimsOf(headers.authorization)['sub'], body }))
  })
  const configuration = {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    server: { listen: '127.0.0.1:0', drain: { delay: size.delay, timeout: '1m' } },
  }
  const start = (): Promise<Served> => startServe(scope, configuration)
  let running: readonly Served[] = [await start(), await start()]
  const nginx = await Nginx.start(scope, running)
  const tokens = new Map<string, string>()
  for (let user = 0; user < size.users; user++) {
    tokens.set(`user-${user}`, await issuer.token({ sub: `user-${user}` }))
  }

  const faults = new Faults()
  const crowd = new Crowd(nginx.origin, tokens)
  const working = crowd.work(size.callers)
  let restarted = 0
  let late = 0
  while (restarted < 2 * size.restarts && late <= MOST_LATE) {
    const [old, other] = running as [Served, Served]
    const next = await start()
    const before = crowd.faults.length
    running = [other, next]
    old.signal('SIGTERM')
    // As a balancer does that looks whether it is ready.
    while (await isReady(old)) await sleep(10)
    await nginx.use(running)
    const wasLate = old.lines.some(({ msg }) => msg === 'accepting no more connections')
    const code = await old.ended
    if (wasLate) {
      late++
      crowd.faults.length = before
      continue
    }
    restarted++
    faults.unless(code, 0, 'exit code')
    if (old.lines.some(({ level }) => level === 'error')) faults.add('it logged an error')
    if (old.lines.some(({ msg }) => msg === 'what is still in flight is cut off')) {
      faults.add('a drain took too long')
    }
  }
  crowd.stop()
  await working
  for (const fault of crowd.faults) faults.add(fault)
  if (late > MOST_LATE) faults.add(`nginx was told too late ${late} times`)
  faults.unless(upstream.received.length >= crowd.answered, true, 'requests that reached nobody')
  return {
    counts: {
      'processes restarted': restarted,
      'that nginx was told of too late': late,
      requests: crowd.answered,
      'failed requests': crowd.faults.length,
    },
    faults: faults.told,
  }
}

async function isReady({ adminOrigin }: Served): Promise<boolean> {
  return (await fetch(`${adminOrigin}/readyz`)).status === 200
}

/** The real one. It sends each request once: what a gateway loses is lost. */
class Nginx {
  readonly origin: string
  readonly #folder: string

  private constructor(port: number, folder: string) {
    this.origin = `http://127.0.0.1:${port}`
    this.#folder = folder
  }

  static async start(scope: Scope, gateways: readonly Served[]): Promise<Nginx> {
    let place = ''
    const port = await startProgram(scope, {
      program: 'nginx',
      args(at, folder) {
        place = folder
        writeFileSync(join(folder, 'nginx.conf'), configurationOf(at, folder, gateways))
        return ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr']
      },
    })
    return new Nginx(port, place)
  }

  /** Sends to these from now on. Resolves when nothing is left of what it did before. */
  async use(gateways: readonly Served[]): Promise<void> {
    const port = Number(new URL(this.origin).port)
    const file = join(this.#folder, 'nginx.conf')
    writeFileSync(file, configurationOf(port, this.#folder, gateways))
    const pid = Number(readFileSync(join(this.#folder, 'nginx.pid'), 'utf8'))
    const before = new Set(childrenOf(pid))
    process.kill(pid, 'SIGHUP')
    for (;;) {
      const now = childrenOf(pid)
      if (now.length > 0 && now.every((child) => !before.has(child))) return
      await sleep(10)
    }
  }
}

function childrenOf(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  )
}

function configurationOf(port: number, folder: string, gateways: readonly Served[]): string {
  const servers = gateways.map(({ origin }) => `server ${new URL(origin).host} max_fails=0;`)
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  )
  return `daemon off;
pid ${join(folder, 'nginx.pid')};
worker_processes 2;
events { worker_connections 1024; }
http {
  access_log off;
  ${places.join('\n  ')}
  upstream gateways { ${servers.join(' ')} keepalive 16; }
  server {
    listen 127.0.0.1:${port};
    # Connections of callers are not what is judged: each request has its own.
    keepalive_timeout 0;
    location / {
      proxy_pass http://gateways;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream off;
    }
  }
}
`
}

/** Callers that ask one request after the other, and know what the answer must be. */
class Crowd {
  readonly faults: string[] = []
  answered = 0
  #stopped = false
  readonly #origin: string
  readonly #tokens: readonly (readonly [string, string])[]

  constructor(origin: string, tokens: ReadonlyMap<string, string>) {
    this.#origin = origin
    this.#tokens = [...tokens]
  }

  stop(): void {
    this.#stopped = true
  }

  async work(callers: number): Promise<void> {
    await Promise.all(
      Array.from({ length: callers }, async (_, caller) => {
        for (let request = caller; !this.#stopped; request += callers) {
          await this.#ask(request)
          await sleep(PAUSE_MS)
        }
      }),
    )
  }

  async #ask(request: number): Promise<void> {
    const [user, token] = this.#tokens[request % this.#tokens.length]!
    // Half of them with a body, which nobody may send twice.
    const body = request % 2 === 0 ? `body-${request}` : ''
    const fault = await asked(`${this.#origin}/orders`, { token, body }).then(
      ({ status, text }) => {
        const expected = JSON.stringify({ sub: user, body })
        return status === 200 && text === expected ? undefined : `${status} ${text.slice(0, 200)}`
      },
      (error: unknown) => String(error),
    )
    this.answered++
    if (fault !== undefined) this.faults.push(`${body === '' ? 'GET' : 'POST'}: ${fault}`)
  }
}

interface Answered {
  readonly status: number
  readonly text: string
}

function asked(
  url: string,
  { token, body }: { readonly token: string; readonly body: string },
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const method = body === '' ? 'GET' : 'POST'
    const request = http.request(url, { method, agent: false, ...bearer(token) }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece: string) => (text += piece))
      response.on('end', () => resolve({ status: response.statusCode!, text }))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body === '' ? undefined : body)
  })
}

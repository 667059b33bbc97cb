import http from 'node:http'
import { startIssuer } from '../issuer.ts'
import { type Line, type Served, startServe } from '../served.ts'
import { bearer, claimsOf, oneRoute, type Scope, startUpstream } from '../system.ts'
import { Faults, type Finding, type Load } from './load.ts'

export interface WorkersSize {
  readonly workers: number
  readonly kills: number
  /** Half of them keep their connection, and half have one for each request. */
  readonly callers: number
  /** How many requests are answered, at least, between two kills. */
  readonly requests: number
}

export const workers: Load = {
  name: 'workers',
  claim: 'a worker that is killed under load loses at most what was in flight on it',
  limitMs: 20 * 60_000,
  judge: (scope) => judgeWorkers(scope, { workers: 4, kills: 28, callers: 32, requests: 500 }),
}

/** Nothing takes so long, in milliseconds, that has not been lost without a word. */
const HUNG_MS = 30_000

export async function judgeWorkers(scope: Scope, size: WorkersSize): Promise<Finding> {
  const issuer = await startIssuer(scope)
  const upstream = await startUpstream(scope, ({ headers }, response) => {
    response.end(JSON.stringify({ sub: claimsOf(headers.authorization)['sub'] }))
  })
  const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin })
  const served = await startServe(scope, configuration, ['--workers', String(size.workers)])
  const faults = new Faults()
  const kills = new Kills(served)
  const callers = await Promise.all(
    Array.from({ length: size.callers }, async (_, index) => {
      const user = `user-${index}`
      const token = await issuer.token({ sub: user })
      return new Caller(served.origin, { user, token, keepsConnection: index % 2 === 0 })
    }),
  )
  const working = callers.map((caller) => caller.work(kills))
  const answered = (): number => callers.reduce((sum, one) => sum + one.answered, 0)
  const enough = async (): Promise<void> => {
    const until = answered() + size.requests
    while (answered() < until) await Promise.race(callers.map((caller) => caller.once()))
  }
  for (let time = 0; time < size.kills; time++) {
    await enough()
    await kills.kill(1 + (time % size.workers))
  }
  await enough()
  for (const caller of callers) caller.stop()
  await Promise.all(working)

  for (const caller of callers) for (const fault of caller.faults) faults.add(fault)
  const lost = callers.reduce((sum, one) => sum + one.lost, 0)
  const restarts = served.lines.filter(({ msg }) => msg === 'a worker has ended').length
  faults.unless(restarts, size.kills, 'workers that ended')
  return {
    counts: {
      'workers killed': size.kills,
      requests: answered(),
      'lost, in flight on them': lost,
      'most lost by one kill': Math.max(0, ...kills.lost),
      'other failures': faults.told.length,
    },
    faults: faults.told,
  }
}

const isReady = ({ msg }: Line): boolean => msg === 'a worker is ready'
const hasEnded = ({ msg }: Line): boolean => msg === 'a worker has ended'

/** One at a time: until the next, all of them are there again. */
class Kills {
  /** By each of them. */
  readonly lost: number[] = []
  /** While one is on its way. */
  current: number | undefined
  readonly #served: Served

  constructor(served: Served) {
    this.#served = served
  }

  async kill(worker: number): Promise<void> {
    const { lines } = this.#served
    const pid = lines.findLast((line) => isReady(line) && line['worker'] === worker)?.['pid']
    const from = lines.length
    this.current = this.lost.push(0) - 1
    process.kill(Number(pid), 'SIGKILL')
    await this.#served.until(hasEnded, from)
    await this.#served.until(isReady, from)
    this.current = undefined
  }
}

interface CallerOptions {
  readonly user: string
  readonly token: string
  readonly keepsConnection: boolean
}

/** Asks one request after the other: one at most is in flight. */
class Caller {
  readonly faults: string[] = []
  answered = 0
  /** Requests that a killed worker may have had. */
  lost = 0
  readonly #origin: string
  readonly #options: CallerOptions
  readonly #agent: http.Agent | false
  /** The processes that answered, by connection. */
  #process = ''
  #lostBy: number | undefined
  #stopped = false
  #told: (() => void)[] = []

  constructor(origin: string, options: CallerOptions) {
    this.#origin = origin
    this.#options = options
    this.#agent = options.keepsConnection && new http.Agent({ keepAlive: true, maxSockets: 1 })
  }

  stop(): void {
    this.#stopped = true
  }

  /** Resolves with its next answer. */
  once(): Promise<void> {
    return new Promise((resolve) => this.#told.push(resolve))
  }

  async work(kills: Kills): Promise<void> {
    while (!this.#stopped) {
      const sentDuring = kills.current
      const fault = await this.#ask().catch((error: Error) => error)
      if (fault instanceof Error) this.#lose(fault, sentDuring ?? kills.current, kills)
      else if (fault !== undefined) this.faults.push(fault)
      this.answered++
      for (const tell of this.#told.splice(0)) tell()
    }
    if (this.#agent !== false) this.#agent.destroy()
  }

  /** One request a kill can have been in flight on the killed worker; the next one has another connection. */
  #lose({ message }: Error, kill: number | undefined, kills: Kills): void {
    const isTwice = kill !== undefined && this.#lostBy === kill
    if (kill === undefined || isTwice || message === HUNG) {
      this.faults.push(`${isTwice ? 'once more' : 'lost'} on ${this.#process}: ${message}`)
      return
    }
    this.#lostBy = kill
    this.lost++
    kills.lost[kill]!++
  }

  #ask(): Promise<string | undefined> {
    const { user, token } = this.#options
    return new Promise((resolve, reject) => {
      const request = http.get(`${this.#origin}/orders`, { agent: this.#agent, ...bearer(token) })
      request.setTimeout(HUNG_MS, () => request.destroy(new Error(HUNG)))
      request.on('error', reject)
      request.on('response', (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (piece: string) => (text += piece))
        response.on('error', reject)
        response.on('end', () => {
          const [by = ''] = String(response.headers['x-request-id']).split('-')
          // A connection is one worker's for as long as it lasts.
          const strayed = request.reusedSocket && by !== this.#process
          this.#process = by
          const isOwn = response.statusCode === 200 && text === JSON.stringify({ sub: user })
          if (strayed) resolve('a connection went from one worker to another')
          else resolve(isOwn ? undefined : `${response.statusCode} ${text.slice(0, 200)}`)
        })
      })
    })
  }
}

const HUNG = 'it was never answered'

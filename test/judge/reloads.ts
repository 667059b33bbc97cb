import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { startServe, type Served } from '../served.ts'
import { assertHeadersAllowed, claimsOf, oneRoute, startUpstream, type Scope } from '../system.ts'
import { openCallers, type Answered, type Ask } from './callers.ts'
import { Faults, within, type Finding, type Load } from './load.ts'

export interface ReloadsSize {
  /** Every fifth finds a file with faults. */
  readonly reloads: number
  /** How many requests are answered, at least, between two. */
  readonly requests: number
  readonly users: number
  /** How much more memory than after a fifth of them, in MiB. Default: that is not judged. */
  readonly mostGrowth?: number
}

export const reloads: Load = {
  name: 'reloads',
  claim:
    '100 reloads under load, a fifth of them of files with faults, fail no request; none sees half of one, and none costs an exchange',
  limitMs: 10 * 60_000,
  judge: (scope) => judgeReloads(scope, { reloads: 100, requests: 250, users: 50, mostGrowth: 48 }),
}

const CALLERS = 16
const ADMIN_TOKEN = 'an admin token of a length that will do'
const LONGEST_MS = 60_000

type Version = 'one' | 'two'

/** A real process, whose file changes between two versions that differ in all that a request meets on its way. */
export async function judgeReloads(scope: Scope, size: ReloadsSize): Promise<Finding> {
  const issuer = await startIssuer(scope)
  const upstreams = { one: await startTelling(scope, 'one'), two: await startTelling(scope, 'two') }
  const configurationOf = (version: Version): object => ({
    ...routeOf(issuer, upstreams[version].origin, version),
    admin: { listen: '127.0.0.1:0', token: ADMIN_TOKEN },
  })
  const served = await startServe(scope, configurationOf('one'))
  const ask = await openCallers(scope, served.origin, CALLERS)
  const users = Array.from({ length: size.users }, (_, n) => `user-${n}`)
  const tokens = new Map<string, string>()
  for (const sub of users) tokens.set(sub, await issuer.token({ sub }))

  const faults = new Faults()
  const reloading = new Reloading(served, faults)
  const crowd = new Crowd(ask, tokens, faults)
  for (const version of ['one', 'two', 'one'] as const) {
    await reloading.toGood(configurationOf(version), 'POST')
    await crowd.allOnce(version)
  }
  const exchanged = issuer.exchanges.length
  const filesBefore = openFiles(served)

  crowd.settled('one')
  const working = crowd.work()
  let version: Version = 'one'
  let early = 0
  for (let time = 1; time <= size.reloads; time++) {
    await crowd.enough(size.requests)
    const by = time % 2 === 0 ? 'POST' : 'SIGHUP'
    if (time % 5 === 0) {
      await reloading.toFaulty(FAULTY[(time / 5) % FAULTY.length]!(configurationOf(version)), by)
    } else {
      version = version === 'one' ? 'two' : 'one'
      crowd.changing()
      await reloading.toGood(configurationOf(version), by)
      crowd.settled(version)
    }
    if (time === Math.ceil(size.reloads / 5)) early = memoryOf(served)
  }
  await crowd.enough(size.requests)
  crowd.stop()
  await working

  const growth = memoryOf(served) - early
  faults.unless(issuer.exchanges.length, exchanged, 'exchanges')
  for (const form of issuer.exchanges) {
    const [target, secret] = [form.get('audience'), form.get('client_secret')]
    if (target !== audienceOf(secretTells(secret))) faults.add(`${target} asked by ${secret}`)
  }
  const received = [...upstreams.one.received, ...upstreams.two.received]
  faults.unless(received.length, crowd.answered, 'requests that upstreams received')
  for (const upstream of Object.values(upstreams)) assertHeadersAllowed(upstream, ['x-version'])
  const written = JSON.stringify([served.lines, received.map(({ rawHeaders }) => rawHeaders)])
  for (const token of tokens.values()) {
    if (written.includes(token.split('.')[2]!)) faults.add('a subject token got away')
  }
  const files = openFiles(served) - filesBefore
  // Connections to upstreams come and go with the load.
  if (files > 2 * CALLERS) faults.add(`${files} more files are open`)
  if (size.mostGrowth !== undefined && growth > size.mostGrowth) {
    faults.add(`${growth.toFixed(1)} MiB more memory`)
  }
  return {
    counts: {
      reloads: size.reloads,
      'of files with faults': Math.floor(size.reloads / 5),
      requests: crowd.answered,
      'while it changed': crowd.meanwhile,
      'exchanges after the first': issuer.exchanges.length - exchanged,
      'more open files': files,
      'more memory': `${growth.toFixed(1)} MiB`,
    },
    faults: faults.told,
  }
}

const audienceOf = (version: string): string => `https://${version}.internal`
const secretOf = (version: Version): string => `the-secret-of-version-${version}`
const secretTells = (secret: string | null): string => secret?.split('-').at(-1) ?? ''

function routeOf(issuer: TestIssuer, upstream: string, version: Version): object {
  const client = { id: 'storefront', secret: secretOf(version), method: 'client_secret_post' }
  return oneRoute({
    ...{ issuer: issuer.url, upstream, client },
    exchange: { audience: audienceOf(version) },
    proxy: { headers: { set: { 'x-version': version } } },
  })
}

/** Tells what it received, and who it is. */
function startTelling(scope: Scope, version: Version): ReturnType<typeof startUpstream> {
  return startUpstream(scope, ({ headers, body }, response) => {
    const { aud, sub } = claimsOf(headers.authorization)
    response.end(JSON.stringify({ version, header: headers['x-version'], aud, sub, body }))
  })
}

const FAULTY: readonly ((good: object) => object | string)[] = [
  () => 'routes: [',
  (good) => ({ ...good, unknown: true }),
  (good) => ({ ...good, apis: {} }),
  () => '',
  (good) => ({ ...good, admin: { token: '${file:/nowhere/at/all}' } }),
]

class Reloading {
  readonly #served: Served
  readonly #faults: Faults
  /** Behind the line of the last one. */
  #from = 0

  constructor(served: Served, faults: Faults) {
    this.#served = served
    this.#faults = faults
  }

  async toGood(configuration: object, by: 'POST' | 'SIGHUP'): Promise<void> {
    const outcome = await this.#to(configuration, by)
    // The first finds what it was started with.
    if (outcome !== 'reloaded' && outcome !== 'unchanged')
      this.#faults.add(`${String(outcome)} by ${by}`)
  }

  async toFaulty(configuration: object | string, by: 'POST' | 'SIGHUP'): Promise<void> {
    this.#faults.unless(await this.#to(configuration, by), 'refused', `a file with faults by ${by}`)
  }

  async #to(configuration: object | string, by: 'POST' | 'SIGHUP'): Promise<unknown> {
    const { lines, adminOrigin } = this.#served
    this.#served.configure(configuration)
    if (by === 'SIGHUP') this.#served.signal('SIGHUP')
    else {
      const headers = { authorization: `Bearer ${ADMIN_TOKEN}` }
      await (await fetch(`${adminOrigin}/reload`, { method: 'POST', headers })).text()
    }
    const told = this.#served.until(({ msg }) => msg === 'reload', this.#from)
    const line = await within(LONGEST_MS, 'a reload', told)
    this.#from = lines.indexOf(line) + 1
    return line['outcome']
  }
}

/** Callers that never stop, and know which version they are to meet: undefined while that changes. */
class Crowd {
  answered = 0
  meanwhile = 0
  readonly #ask: Ask
  readonly #tokens: ReadonlyMap<string, string>
  readonly #faults: Faults
  #phase: { readonly is: Version | undefined; seen: number } = { is: undefined, seen: 0 }
  #stopped = false

  constructor(ask: Ask, tokens: ReadonlyMap<string, string>, faults: Faults) {
    this.#ask = ask
    this.#tokens = tokens
    this.#faults = faults
  }

  changing(): void {
    this.#phase = { is: undefined, seen: 0 }
  }

  settled(is: Version): void {
    this.#phase = { is, seen: 0 }
  }

  stop(): void {
    this.#stopped = true
  }

  async allOnce(is: Version): Promise<void> {
    this.settled(is)
    for (const sub of this.#tokens.keys()) await this.#come(sub)
  }

  async work(): Promise<void> {
    const subs = [...this.#tokens.keys()]
    const caller = async (first: number): Promise<void> => {
      for (let turn = first; !this.#stopped; turn += CALLERS) {
        await this.#come(subs[turn % subs.length]!)
      }
    }
    await Promise.all(Array.from({ length: CALLERS }, (_, n) => caller(n)))
  }

  /** Waits until so many were answered since the last change. */
  async enough(requests: number): Promise<void> {
    const phase = this.#phase
    const seenBefore = phase.seen
    const seen = async (): Promise<void> => {
      while (phase.seen - seenBefore < requests) await sleep(2)
    }
    await within(LONGEST_MS, `${requests} answers`, seen())
  }

  async #come(sub: string): Promise<void> {
    const phase = this.#phase
    const body = this.answered % 3 === 0 ? `of ${sub}` : ''
    const answer = await this.#ask(`/orders/${sub}`, {
      token: this.#tokens.get(sub)!,
      ...(body !== '' && { method: 'POST', body }),
    }).catch((error: unknown): Answered => {
      return { status: 0, retryAfter: undefined, text: String(error) }
    })
    this.answered++
    phase.seen++
    const version = phase === this.#phase ? phase.is : undefined
    if (version === undefined) this.meanwhile++
    this.#judge(answer, { sub, body }, version)
  }

  #judge(answer: Answered, asked: { sub: string; body: string }, version?: Version): void {
    const { status, text } = answer
    if (status !== 200) {
      this.#faults.add(`answered ${status}: ${text}`)
      return
    }
    const told = JSON.parse(text) as { readonly version: string }
    const is = version ?? told.version
    const whole = { version: is, header: is, aud: audienceOf(is), ...asked }
    this.#faults.unless(text, JSON.stringify(whole), 'what a request met')
  }
}

function openFiles({ pid }: Served): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** In MiB. */
function memoryOf({ pid }: Served): number {
  const [, resident = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(
    readFileSync(`/proc/${pid}/status`, 'utf8'),
  )!
  return Number(resident) / 1_024
}

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findLoad } from '../bench/load.ts'
import type { Scope } from '../system.ts'
import type { Met, Wave } from './hostile-callers.ts'
import type { Held } from './hostile-gateway.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { startTenant, throughIssuer } from './setting.ts'

export interface HostileSize {
  readonly rounds: number
  /** Of each wave. */
  readonly vanishing: number
  readonly slow: number
  /** How long good callers ask in each round, with a wave and without one. */
  readonly seconds: number
  /**
   * `p99`, and `cpu` of a good request, times what they are without a wave. Undefined: neither is judged, and no bare proxy is
   * started beside it.
   */
  readonly most: { readonly p99: number; readonly cpu: number } | undefined
}

export const hostile: Load = {
  name: 'hostile',
  claim:
    'callers that vanish mid-body by the thousand, and slow ones, cost good ones little, and leave nothing behind',
  limitMs: 20 * 60_000,
  judge: (scope, seed) =>
    judgeHostile(
      scope,
      { rounds: 5, vanishing: 2_000, slow: 600, seconds: 30, most: { p99: 2, cpu: 1.2 } },
      seed,
    ),
}

/** After two of them a wave costs hardly less than the one before. */
const WARMING_WAVES = 2

/** What good callers met in one round. */
interface Round {
  readonly p99Ms: number
  /** Of the gateway, for each good request, in microseconds. */
  readonly cpu: number
  readonly failed: number
  readonly requests: number
}

/** What is measured: the gateway, or the bare proxy beside it. */
interface Measured {
  readonly url: string
  readonly port: number
  /** User and system time so far, in microseconds. */
  cpu(): Promise<number>
}

/** What came of the rounds of one of them. */
interface Rounds {
  readonly quiet: readonly Round[]
  readonly loud: readonly Round[]
  /** Of all waves. */
  readonly met: Met
}

/**
 * The gateway, the upstream, good callers and each wave in processes of their own.
 *
 * To accept one that means no good, to read what it has sent and to end the request that it had begun at the upstream is work
 * for every proxy that streams, about twenty times that of a good request. So that it can be told what of it is the gateway's,
 * the same waves come to a bare proxy as well (the floor of `npm run bench`: `node:http` and undici, with the same time for a
 * header section), round by round. What is told for each bad client is all that a wave costs, over its clients of either kind.
 *
 * Where that is judged waves come before anything is measured, too: V8 compiles anew what had seen only good
 * callers, which costs as much as the first wave itself.
 */
export async function judgeHostile(
  scope: Scope,
  { rounds, vanishing, slow, seconds, most }: HostileSize,
  seed: number,
): Promise<Finding> {
  const faults = new Faults()
  const tenant = await startTenant(scope)
  const [upstream] = await start(scope, '../proxy/large-upstream.js')
  const [origin, gateway] = await start(
    scope,
    'hostile-gateway.js',
    JSON.stringify({
      server: { listen: '127.0.0.1:0' },
      admin: { listen: '127.0.0.1:0' },
      ...throughIssuer(tenant, `http://127.0.0.1:${String(upstream)}`),
    }),
  )
  const token = await tenant.newToken('user-1')
  const load = await findLoad()
  const measured = measuredAt(String(origin), async () => (await ask(gateway)).cpu)
  const bare = most && (await startBare(scope, `http://127.0.0.1:${String(upstream)}`))

  async function round({ url, cpu }: Measured): Promise<Round> {
    const before = await cpu()
    const { requests, failed, p99Ms } = await load.run(url, token, seconds)
    return { p99Ms, failed, requests, cpu: ((await cpu()) - before) / requests }
  }

  async function both(one: Measured, { quiet, loud, met }: Begun, seed: number): Promise<void> {
    quiet.push(await round(one))
    const { port } = one
    const callers = send(scope, { port, token, vanishing, slow, forMs: seconds * 750, seed })
    loud.push(await round(one))
    met.push(await callers)
  }

  // What is made once is made: connections to the issuer, the token, compiled code.
  if (bare === undefined) await round(measured)
  else {
    for (let wave = 1; wave <= WARMING_WAVES; wave++) {
      for (const one of [measured, bare]) await both(one, newRounds(), seed - wave)
    }
  }
  const empty = await settled(gateway)
  const begun = newRounds()
  const begunBare = newRounds()
  for (let index = 0; index < rounds; index++) {
    await both(measured, begun, seed + index)
    if (bare !== undefined) await both(bare, begunBare, seed + index)
  }
  const left = await settled(gateway)

  const { quiet, loud, met } = summed(begun)
  const p99 = ratio(quiet, loud, ({ p99Ms }) => p99Ms)
  const cpu = ratio(quiet, loud, (one) => one.cpu)
  faults.unless(met.vanished, rounds * vanishing, 'callers that vanished')
  faults.unless(met.ended, rounds * slow, 'slow callers that were ended')
  faults.unless(
    sum([...quiet, ...loud].map(({ failed }) => failed)),
    0,
    'good requests that failed',
  )
  for (const what of ['sockets', 'inFlight'] as const) faults.unless(left[what], empty[what], what)
  if (left.timers > empty.timers) faults.add(`timers: ${left.timers}, ${empty.timers} before`)
  const counts: Record<string, number | string> = {
    'good callers': load.name,
    'vanished mid-body': met.vanished,
    'slow, ended': `${met.ended}, of which ${met.timedOut} read 408`,
    'p99 without a wave': milliseconds(quiet),
    'p99 with a wave': milliseconds(loud),
    'p99, times': p99.toFixed(2),
    'CPU per good request, times': cpu.toFixed(2),
    'sockets, timers, requests left': `${left.sockets}, ${left.timers}, ${left.inFlight}`,
  }
  if (most === undefined) return { counts, faults: faults.told }
  const floor = summed(begunBare)
  const bareCpu = ratio(floor.quiet, floor.loud, (one) => one.cpu)
  const clients = vanishing + slow
  const beside = (of: (rounds: Rounds) => string): string =>
    `${of({ quiet, loud, met })}; of a bare proxy ${of(floor)}`
  Object.assign(counts, {
    'CPU per good request, times': `${cpu.toFixed(2)}; of a bare proxy ${bareCpu.toFixed(2)}`,
    '... in us, with a wave': beside((one) => `${cpuOf(one.quiet)}, ${cpuOf(one.loud)}`),
    'CPU per bad client, us': beside((one) => extra(one, clients).toFixed(0)),
  })
  if (p99 > most.p99) faults.add(`p99 is ${p99.toFixed(2)} x`)
  if (cpu > most.cpu) faults.add(`CPU per good request is ${cpu.toFixed(2)} x`)
  return { counts, faults: faults.told }
}

interface Begun {
  readonly quiet: Round[]
  readonly loud: Round[]
  readonly met: Met[]
}

function newRounds(): Begun {
  return { quiet: [], loud: [], met: [] }
}

function summed({ quiet, loud, met }: Begun): Rounds {
  const of = (name: keyof Met): number => sum(met.map((one) => one[name]))
  const all = { vanished: of('vanished'), ended: of('ended'), timedOut: of('timedOut') }
  return { quiet, loud, met: { ...all, failed: of('failed') } }
}

function measuredAt(origin: string, cpu: Measured['cpu']): Measured {
  return { url: `${origin}/orders/1000`, port: Number(new URL(origin).port), cpu }
}

async function startBare(scope: Scope, upstream: string): Promise<Measured> {
  const [told, child] = await start(scope, '../bench/floor.js', upstream)
  return measuredAt((told as { readonly origin: string }).origin, async () => {
    child.send('usage')
    const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage]
    return user + system
  })
}

/** What a wave costs over all, for each of its clients, in microseconds. */
function extra({ quiet, loud }: Rounds, clients: number): number {
  const usual = median(quiet.map(({ cpu }) => cpu))
  return median(loud.map(({ cpu, requests }) => ((cpu - usual) * requests) / clients))
}

function cpuOf(rounds: readonly Round[]): string {
  return median(rounds.map(({ cpu }) => cpu)).toFixed(1)
}

/** Of medians: one round in which the machine was busy elsewhere decides nothing. */
function ratio(
  quiet: readonly Round[],
  loud: readonly Round[],
  of: (round: Round) => number,
): number {
  return median(loud.map(of)) / median(quiet.map(of))
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)]!
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function milliseconds(rounds: readonly Round[]): string {
  return `${median(rounds.map(({ p99Ms }) => p99Ms)).toFixed(1)} ms`
}

/** Longer than anything is kept: connections to upstreams for 4 s, slow header sections for 12. */
const SETTLES_IN_MS = 30_000

/** What is held once nothing is under way any more; what is held in the end where that never comes. */
async function settled(gateway: ChildProcess): Promise<Held> {
  const until = Date.now() + SETTLES_IN_MS
  for (;;) {
    const held = await ask(gateway)
    if ((held.sockets === 0 && held.inFlight === 0) || Date.now() > until) return held
    await sleep(200)
  }
}

async function start(
  scope: Scope,
  script: string,
  ...arguments_: string[]
): Promise<readonly [unknown, ChildProcess]> {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), arguments_, {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  scope.after(() => child.kill())
  const [told] = await new Promise<unknown[]>((resolve, reject) => {
    child.once('message', (message) => resolve([message]))
    child.once('exit', () => reject(new Error(`${script} ended before it told anything`)))
  })
  return [told, child]
}

async function send(scope: Scope, wave: Wave): Promise<Met> {
  const [met] = await start(scope, 'hostile-callers.js', JSON.stringify(wave))
  return met as Met
}

async function ask(gateway: ChildProcess): Promise<Held> {
  gateway.send('held')
  const [told] = (await once(gateway, 'message')) as [Held]
  return told
}

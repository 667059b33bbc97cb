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
  /** Times what it is without a wave; undefined: only counted. */
  readonly most: { readonly p99: number; readonly cpu: number } | undefined
}

export const hostile: Load = {
  name: 'hostile',
  claim:
    'callers that vanish mid-body by the thousand, and slow ones, cost good ones little, and leave nothing behind',
  limitMs: 8 * 60_000,
  judge: (scope, seed) =>
    judgeHostile(
      scope,
      { rounds: 5, vanishing: 2_000, slow: 1_000, seconds: 20, most: { p99: 2, cpu: 1.2 } },
      seed,
    ),
}

/** What good callers met in one round. */
interface Round {
  readonly p99Ms: number
  /** Of the gateway, for each good request, in microseconds. */
  readonly cpu: number
  readonly failed: number
}

/** The gateway, the upstream, good callers and each wave in processes of their own. */
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
  const url = `${String(origin)}/orders/1000`
  const token = await tenant.newToken('user-1')
  const load = await findLoad()

  async function round(): Promise<Round> {
    const before = await ask(gateway)
    const { requests, failed, p99Ms } = await load.run(url, token, seconds)
    const after = await ask(gateway)
    return { p99Ms, failed, cpu: (after.cpu - before.cpu) / requests }
  }

  // What is made once is made: connections to the issuer, the token, compiled code.
  await round()
  const empty = await settled(gateway)
  const port = Number(new URL(String(origin)).port)
  const quiet: Round[] = []
  const loud: Round[] = []
  const met = { vanished: 0, ended: 0, timedOut: 0, failed: 0 }
  for (let index = 0; index < rounds; index++) {
    quiet.push(await round())
    const wave = { port, token, vanishing, slow, forMs: seconds * 750, seed: seed + index }
    const callers = send(scope, wave)
    loud.push(await round())
    const told = await callers
    for (const name of ['vanished', 'ended', 'timedOut', 'failed'] as const) met[name] += told[name]
  }
  const left = await settled(gateway)

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
  if (most !== undefined && p99 > most.p99) faults.add(`p99 is ${p99.toFixed(2)} x`)
  if (most !== undefined && cpu > most.cpu) faults.add(`CPU per request is ${cpu.toFixed(2)} x`)
  return {
    counts: {
      'good callers': load.name,
      'vanished mid-body': met.vanished,
      'slow, ended': `${met.ended}, of which ${met.timedOut} read 408`,
      'p99 without a wave': milliseconds(quiet),
      'p99 with a wave': milliseconds(loud),
      'p99, times': p99.toFixed(2),
      'CPU per good request, times': cpu.toFixed(2),
      'sockets, timers, requests left': `${left.sockets}, ${left.timers}, ${left.inFlight}`,
    },
    faults: faults.told,
  }
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

/**
 * The cached path beside its floor, in interleaved rounds: CPU time a request of the measured process (user + system,
 * as the kernel charged it), requests a second, latency, and the ratio. It prints what it measured on, and fails nothing.
 *
 *   npm run bench -- [--rounds 5] [--seconds 4]
 */
import os from 'node:os'
import { parseArgs } from 'node:util'
import { findLoad, type Load, type LoadResult } from './load.ts'
import { configuration, type Measured, start, startIssuer } from './measured.ts'
import type { Used } from './usage.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)

interface Round extends LoadResult {
  /** Microseconds of CPU a request. */
  readonly cpu: number
}

async function round(
  load: Load,
  measured: Measured,
  token: string,
  duration: number,
): Promise<Round> {
  const before = cpuOf(await measured.usage())
  const result = await load.run(`${measured.origin}/orders/1`, token, duration)
  return { ...result, cpu: (cpuOf(await measured.usage()) - before) / result.requests }
}

function cpuOf({ user, system }: Used): number {
  return user + system
}

function median(figures: readonly number[]): number {
  return (
    [...figures].sort((one, other) => one - other)[Math.floor(figures.length / 2)] ?? Number.NaN
  )
}

function row(name: string, results: readonly Round[]): string {
  const of = (figure: (result: Round) => number): number => median(results.map(figure))
  return [
    name.padEnd(9),
    `${of(({ cpu }) => cpu).toFixed(1)} us`.padStart(12),
    of(({ perSecond }) => perSecond)
      .toFixed(0)
      .padStart(12),
    `${of(({ p50Ms }) => p50Ms).toFixed(2)} ms`.padStart(11),
    `${of(({ p99Ms }) => p99Ms).toFixed(2)} ms`.padStart(11),
    String(results.reduce((sum, { failed }) => sum + failed, 0)).padStart(8),
  ].join('')
}

const load = await findLoad()
const ends: (() => unknown)[] = []
const scope = { after: (end: () => unknown) => void ends.push(end) }
const issuer = await startIssuer(scope)
const upstream = await start(scope, './upstream.js')
const floor = await start(scope, './floor.js', { given: [upstream.origin] })
const gateway = await start(scope, './gateway.js', {
  given: [configuration(issuer.url, upstream.origin)],
})

console.log(
  `node ${process.version} on ${os.availableParallelism()} x ${os.cpus()[0]?.model ?? 'unknown'}`,
)
console.log(`load: ${load.name}; ${rounds} interleaved rounds of ${seconds} s; medians`)
console.log(`token: ${issuer.token.length} bytes; answer: 1 kB; upstream in its own process\n`)
for (const measured of [floor, gateway]) await round(load, measured, issuer.token, 2)
const floors: Round[] = []
const gateways: Round[] = []
for (let index = 0; index < rounds; index++) {
  floors.push(await round(load, floor, issuer.token, seconds))
  gateways.push(await round(load, gateway, issuer.token, seconds))
}
console.log('           CPU/request  requests/s        p50        p99  failed')
console.log(row('floor', floors))
console.log(row('gateway', gateways))
const ratios = gateways.map(({ cpu }, index) => cpu / (floors[index]?.cpu ?? Number.NaN))
console.log(
  `\nratio of CPU a request, round by round: ${ratios.map((one) => one.toFixed(2)).join(' ')}`,
)
console.log(`median ${median(ratios).toFixed(2)} (goal 1.25)`)
for (const end of ends) end()
process.exit(0)

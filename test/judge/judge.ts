/**
 * The heavy loads in full, all of them or those that are named. Prints what it counted; ends with 1 if anything did not
 * hold, and with 64 if there is no such load.
 *
 *   npm run judge -- [NAME]... [--seed N] [--processes N]
 */
import os from 'node:os'
import { parseArgs } from 'node:util'
import { concurrency } from './concurrency.ts'
import { drift } from './drift.ts'
import { events } from './events.ts'
import { faults } from './faults.ts'
import { framing } from './framing.ts'
import { hostile } from './hostile.ts'
import { identity } from './identity.ts'
import { layers } from './layers.ts'
import { scoped, within, type Finding, type Load, type More } from './load.ts'
import { memory } from './memory.ts'
import { messages } from './messages.ts'
import { outage } from './outage.ts'
import { redisFaults } from './redis-faults.ts'
import { redisSizes } from './redis-sizes.ts'
import { refreshed } from './refreshed.ts'
import { reloads } from './reloads.ts'
import { replicas } from './replicas.ts'
import { restarts } from './restarts.ts'
import { replicatedStorm, storm } from './storm.ts'
import { tokens } from './tokens.ts'
import { workers } from './workers.ts'

const LOADS: readonly Load[] = [
  memory,
  concurrency,
  outage,
  framing,
  identity,
  layers,
  storm,
  replicatedStorm,
  refreshed,
  faults,
  redisFaults,
  redisSizes,
  tokens,
  hostile,
  replicas,
  messages,
  reloads,
  events,
  restarts,
  workers,
  drift,
]
const USAGE = 64

function chosen(names: readonly string[]): readonly Load[] {
  const unknown = names.find((name) => !LOADS.some((load) => load.name === name))
  if (unknown !== undefined) {
    const known = LOADS.map(({ name }) => name).join(', ')
    console.error(`there is no load ${unknown}: there are ${known}`)
    process.exit(USAGE)
  }
  return names.length === 0 ? LOADS : LOADS.filter(({ name }) => names.includes(name))
}

function seedOf(given: string | undefined): number {
  if (given === undefined) return Math.floor(Math.random() * 2 ** 32)
  if (!/^\d{1,10}$/.test(given)) {
    console.error(`a seed is a number: ${given} is not`)
    process.exit(USAGE)
  }
  return Number(given) >>> 0
}

function processesOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  if (/^[1-9]\d?$/.test(given)) return Number(given)
  console.error(`processes are a number from 1 to 99: ${given} is not`)
  process.exit(USAGE)
}

async function judge(load: Load, seed: number, more: More): Promise<Finding> {
  try {
    return await within(
      load.limitMs,
      load.name,
      scoped((scope) => load.judge(scope, seed, more)),
    )
  } catch (error) {
    const fault = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return { counts: {}, faults: [fault] }
  }
}

function report(load: Load, { counts, faults }: Finding, seconds: number): void {
  const width = Math.max(0, ...Object.keys(counts).map((name) => name.length))
  console.log(`${faults.length === 0 ? 'holds ' : 'FAILED'}  ${load.name}: ${load.claim}`)
  for (const [name, count] of Object.entries(counts)) {
    console.log(`          ${name.padEnd(width)}  ${count}`)
  }
  for (const fault of faults) console.log(`        ! ${fault}`)
  console.log(`          ${seconds.toFixed(1)} s\n`)
}

const { values, positionals } = parseArgs({
  options: { seed: { type: 'string' }, processes: { type: 'string' } },
  allowPositionals: true,
})
const loads = chosen(positionals)
const seed = seedOf(values.seed)
const processes = processesOf(values.processes)
console.log(`node ${process.version} on ${os.availableParallelism()} x ${os.cpus()[0]?.model}`)
console.log(`seed ${seed}\n`)
let failed = 0
for (const load of loads) {
  const startedAt = performance.now()
  const finding = await judge(load, seed, { processes })
  if (finding.faults.length > 0) failed++
  report(load, finding, (performance.now() - startedAt) / 1_000)
}
console.log(`${loads.length - failed} of ${loads.length} hold`)
// A load that ran out of time may have left something open.
process.exit(failed === 0 ? 0 : 1)

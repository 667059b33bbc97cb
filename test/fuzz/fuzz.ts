/**
 * Requests by a seeded grammar against the gateway, with the upstream's bytes as the oracle, and answers likewise. Prints what
 * it counted; ends with 1 if anything was desynchronised, and with 64 for arguments that make no sense.
 *
 *   npm run fuzz -- [--seed N] [--requests N]
 */
import { parseArgs } from 'node:util'
import { scoped, type Finding } from '../judge/load.ts'
import { fuzzAnswers } from './answers.ts'
import { fuzzGateway, fuzzNaiveProxy } from './run.ts'

const USAGE = 64
const NAIVE_REQUESTS = 2_000
/** Answers cost more, most by the connections that end with them: there is one for so many requests. */
const ANSWERED_OF = 20

function numberOf(name: string, given: string | undefined, usual: number): number {
  if (given === undefined) return usual
  if (!/^\d{1,10}$/.test(given)) {
    console.error(`--${name} is a number: ${given} is not`)
    process.exit(USAGE)
  }
  return Number(given)
}

function report(what: string, { counts, faults }: Finding, holds: boolean): void {
  const width = Math.max(0, ...Object.keys(counts).map((name) => name.length))
  console.log(`${holds ? 'holds ' : 'FAILED'}  ${what}`)
  for (const [name, count] of Object.entries(counts)) {
    console.log(`          ${name.padEnd(width)}  ${count}`)
  }
  for (const fault of faults) console.log(`        ! ${fault}`)
  console.log()
}

const { values } = parseArgs({
  options: { seed: { type: 'string' }, requests: { type: 'string' } },
})
const seed = numberOf('seed', values.seed, Math.floor(Math.random() * 2 ** 32)) >>> 0
const requests = numberOf('requests', values.requests, 1_000_000)

const ours = await scoped((scope) => fuzzGateway(scope, { seed, requests }))
const isSound = ours.faults.length === 0
report('what arrives is what was sent as a request, and nothing else', ours, isSound)
const naive = await scoped((scope) => fuzzNaiveProxy(scope, { seed, requests: NAIVE_REQUESTS }))
const finds = naive.faults.length > 0
report('the same requests, where they are sound, desynchronise a naive proxy', naive, finds)
const many = Math.ceil(requests / ANSWERED_OF)
const answered = await scoped((scope) => fuzzAnswers(scope, { seed, requests: many }))
const isAnswered = answered.faults.length === 0
report('who gets an answer gets their own, and a sound one whole', answered, isAnswered)
process.exit(isSound && finds && isAnswered ? 0 : 1)

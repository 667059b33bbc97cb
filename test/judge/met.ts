/** What callers meet while something is broken, and the table that tells it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answered, Ask } from './callers.ts'
import { within } from './load.ts'

export interface FaultsSize {
  /** How long each fault lasts, and how long is looked at what comes after it. */
  readonly lastsMs: number
  /** Between two requests of users who are known, and ten times that between two of new ones. */
  readonly everyMs: number
}

/** What one kind of caller met while a fault lasted. */
export interface Met {
  requests: number
  ok: number
  /** By `status code`. */
  readonly failed: Map<string, number>
  readonly tookMs: number[]
  /** How long after the fault's end something still failed, in milliseconds. */
  recoveryMs: number
}

export type Who = 'known' | 'new'

export interface Row {
  readonly fault: string
  readonly met: Readonly<Record<Who, Met>>
}

/** A fault, and who suffers from it. */
export interface Suffering {
  readonly fault: string
  readonly ask: Ask
  /** A token that the gateway has an issued one for. */
  readonly known: () => string
  /** A token that nobody has seen. */
  readonly fresh: () => Promise<string>
  readonly begin: () => unknown
  readonly end: () => unknown
}

/** Breaks something under a load that comes whether or not it is answered, and mends it. */
export async function suffer(suffering: Suffering, size: FaultsSize): Promise<Row> {
  const { ask, known, fresh } = suffering
  const phase = { name: 'before', endedAt: 0 }
  const met: Record<Who, Met> = { known: nothingMet(), new: nothingMet() }
  const open = new Set<Promise<void>>()

  async function come(who: Who, token: string): Promise<void> {
    const { name } = phase
    const askedAt = performance.now()
    const how = outcomeOf(await ask('/orders', { token }).catch(() => undefined))
    const tally = met[who]
    if (name === 'after' && how !== 'ok') {
      tally.recoveryMs = Math.max(tally.recoveryMs, askedAt - phase.endedAt)
    }
    if (name !== 'during') return
    tally.requests++
    tally.tookMs.push(performance.now() - askedAt)
    if (how === 'ok') tally.ok++
    else tally.failed.set(how, (tally.failed.get(how) ?? 0) + 1)
  }

  async function load(until: number): Promise<void> {
    for (let tick = 0; performance.now() < until; tick++) {
      const coming = [come('known', known())]
      if (tick % 10 === 0) coming.push(come('new', await fresh()))
      for (const one of coming) {
        open.add(one)
        void one.finally(() => open.delete(one))
      }
      await sleep(size.everyMs)
    }
  }

  await suffering.begin()
  phase.name = 'during'
  await load(performance.now() + size.lastsMs)
  phase.name = 'ending'
  await suffering.end()
  phase.endedAt = performance.now()
  phase.name = 'after'
  await load(phase.endedAt + size.lastsMs)
  await within(60_000, `the last answers, ${suffering.fault}`, Promise.all(open))
  return { fault: suffering.fault, met }
}

function nothingMet(): Met {
  return { requests: 0, ok: 0, failed: new Map(), tookMs: [], recoveryMs: 0 }
}

function outcomeOf(answer: Answered | undefined): string {
  if (answer === undefined) return '0 cut'
  if (answer.status === 200) return 'ok'
  return `${answer.status} ${/"code":"(\w+)"/.exec(answer.text)?.[1] ?? ''}`
}

export function p99({ tookMs }: Met): number {
  const sorted = [...tookMs].sort((one, other) => one - other)
  return Math.ceil(sorted[Math.floor(sorted.length * 0.99)] ?? 0)
}

export function summary({ met }: Row): string {
  const of = (who: Who): string => {
    const { ok, requests, recoveryMs } = met[who]
    return `${who}: ${ok} of ${requests} ok, p99 ${p99(met[who])} ms, recovered after ${Math.round(recoveryMs)} ms`
  }
  return `${of('known')}; ${of('new')}`
}

const PAGE = 'docs/reliability.md'

/** @param what names the part of the page */
export function writeTable(rows: readonly Row[], what: 'measured' | 'measured with redis'): void {
  const page = readFileSync(PAGE, 'utf8')
  const begin = `<!-- ${what} -->\n`
  const [before, after] = [page.indexOf(begin) + begin.length, page.indexOf(`<!-- /${what} -->\n`)]
  writeFileSync(PAGE, `${page.slice(0, before)}\n${tableOf(rows)}\n${page.slice(after)}`)
}

/** In Markdown, columns aligned as Prettier does. */
function tableOf(rows: readonly Row[]): string {
  const lines = rows.flatMap(({ fault, met }) =>
    (['known', 'new'] as const).map((who) => {
      const { requests, ok, failed, recoveryMs } = met[who]
      const how = [...failed].map(([code, count]) => `${count} \`${code}\``).join(', ')
      return [
        fault,
        who,
        String(requests),
        String(ok),
        how === '' ? 'none' : how,
        String(p99(met[who])),
        (recoveryMs / 1_000).toFixed(1),
      ]
    }),
  )
  const head = ['Fault', 'Users', 'Requests', 'Ok', 'Failed', 'p99, ms', 'Recovery, s']
  const widths = head.map((_, at) => Math.max(...[head, ...lines].map((line) => line[at]!.length)))
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |\n`
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |\n`
  return row(head) + rule + lines.map(row).join('')
}

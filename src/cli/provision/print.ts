import type { Step } from '../../provision/step.ts'
import { wantsColours } from '../demo/screen.ts'
import type { TenantPlan } from './tenant.ts'

const SECRETS: ReadonlySet<string> = new Set(['signing_secret', 'client_secret'])
const HIDDEN = '(secret)'

/** The value as it may be shown: that a secret changes, but not the secret. */
function masked(name: string, value: unknown): unknown {
  return SECRETS.has(name) && value !== undefined ? HIDDEN : value
}

function plain({ action, kind, name, fields, deletes }: Step) {
  const visible = Object.entries(fields).map(([field, { from, to }]) => [
    field,
    { ...(from !== undefined && { from: masked(field, from) }), to: masked(field, to) },
  ])
  return {
    action,
    kind,
    name,
    fields: Object.fromEntries(visible) as Record<string, unknown>,
    ...(deletes.length > 0 && { deletes }),
  }
}

/** The plans in the given format; text for a terminal has colours. */
export function shown(plans: readonly TenantPlan[], format: string): string {
  if (format === 'json') return planJson(plans)
  return planText(plans, wantsColours(process.stdout, process.env))
}

function planJson(plans: readonly TenantPlan[]): string {
  const steps = plans.flatMap(({ issuer, steps: own }) =>
    // The issuer is named only if there are several tenants.
    own.map((step) => (plans.length > 1 ? { issuer, ...plain(step) } : plain(step))),
  )
  return `${JSON.stringify({ steps }, null, 2)}\n`
}

const MARKS = { create: '+', update: '~', replace: '!', unchanged: '=' } as const
const COLOURS = { create: 32, update: 33, replace: 31, unchanged: 2 } as const

function planText(plans: readonly TenantPlan[], isColourful: boolean): string {
  const paint = (code: number, text: string): string =>
    isColourful ? `\u001b[${code}m${text}\u001b[0m` : text
  const lines = plans.flatMap(({ issuer, url, steps }) => [
    `${issuer}  ${url}`,
    '',
    ...steps.flatMap((step) => [
      paint(COLOURS[step.action], `${MARKS[step.action]} ${step.kind} ${step.name}`),
      ...step.deletes.map(({ kind, id, because }) => `    deletes ${kind} ${id}: ${because}`),
      ...fieldLines(step),
    ]),
    '',
  ])
  return `${[...lines, summary(plans.flatMap(({ steps }) => steps))].join('\n')}\n`
}

function fieldLines({ action, fields }: Step): readonly string[] {
  const width = Math.max(...Object.keys(fields).map(({ length }) => length))
  return Object.entries(fields).map(([name, { from, to }]) => {
    const value = text(masked(name, to))
    const change = action === 'create' ? value : `${text(masked(name, from))} -> ${value}`
    return `    ${name.padEnd(width)}  ${change}`
  })
}

/** The value on one line, with a PEM shortened. */
function text(value: unknown): string {
  if (value === undefined) return '(not set)'
  return JSON.stringify(value, (key, inner: unknown) => (key === 'pem' ? '(PEM)' : inner))
}

function summary(steps: readonly Step[]): string {
  const count = (action: Step['action']): number =>
    steps.filter((step) => step.action === action).length
  const [made, changed, replaced] = [count('create'), count('update'), count('replace')]
  if (made + changed + replaced === 0)
    return `Nothing is to be done: ${steps.length} objects are as they should be.`
  const gone = steps.flatMap(({ deletes }) => deletes).length
  const instead = replaced === 0 ? '' : ` ${replaced} to replace (${gone} deleted),`
  return `${made} to create, ${changed} to change,${instead} ${count('unchanged')} as they should be.`
}

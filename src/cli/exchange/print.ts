import type { Asked } from './overhear.ts'
import type { Kept, Refusal, Report, Subject } from './walk.ts'

/** The report as text for operators. */
export function text({ route, grant, subject, asked, issued, kept, refusal }: Report): string {
  const lines = [
    `route     ${route}, by ${grant}`,
    ...(subject ? subjectLines(subject) : []),
    ...asked.flatMap(askedLines),
    ...(issued ? [issuedLine(issued, asked.length)] : []),
    ...(kept ? [keptLine(kept)] : []),
    ...(refusal ? refusalLines(refusal) : []),
  ]
  return `${lines.join('\n')}\n`
}

function subjectLines({ fingerprint, issuer, subject, audience, scopes, secondsLeft }: Subject) {
  return [
    `subject   ${subject} for ${audience}, by ${issuer}`,
    `          token ${fingerprint}, ${duration(secondsLeft)} left`,
    `          ${scopes.length === 0 ? 'no scopes' : scopes.join(' ')}`,
  ]
}

function askedLines({ url, clientAuthentication, proof, form, answer }: Asked): readonly string[] {
  const fields = form.map(({ name, value }) => [name, value] as const)
  const shown: (readonly [string, string])[] = [['(client)', clientAuthentication]]
  if (proof !== undefined) shown.push(['(proof)', proof])
  const lines = [`asked     POST ${url}`, ...table([...shown, ...fields])]
  if (answer === undefined) return [...lines, 'answered  nothing']
  const { status, milliseconds, members, withheld, claims } = answer
  lines.push(`answered  ${status} in ${milliseconds} ms`, ...table(Object.entries(members)))
  if (withheld.length > 0) lines.push(`          withheld: ${withheld.join(', ')}`)
  if (claims !== undefined) lines.push('claims', ...table(Object.entries(claims)))
  return lines
}

function table(rows: readonly (readonly [string, unknown])[]): readonly string[] {
  const width = Math.max(0, ...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => {
    const shown = typeof value === 'string' ? value : JSON.stringify(value)
    return `          ${name.padEnd(width)}  ${shown}`
  })
}

const BOUND = {
  dpop: ", bound to the client's key: the upstream gets a proof with each request",
  mtls: ", bound to the client's certificate: the upstream is shown it",
}

function issuedLine(
  { scheme, scopes, bound }: NonNullable<Report['issued']>,
  requests: number,
): string {
  if (scheme === 'none') return 'sent on   no credentials: the route asks for none'
  if (requests === 0) return 'sent on   the subject token itself: the route passes it through'
  const granted = scopes.length === 0 ? '' : `, with ${scopes.join(' ')}`
  return `sent on   as ${scheme}${granted}${bound === undefined ? '' : BOUND[bound]}`
}

function keptLine({ mode, key, seconds }: Kept): string {
  return seconds === 0
    ? `kept      not at all: it is used once (by ${mode} it would be ${key})`
    : `kept      by ${mode}, as ${key}, for ${duration(seconds)}`
}

function refusalLines({ code, status, detail, scopes, retryAfter, cause }: Refusal) {
  const lines = [`refused   ${status} ${code}: ${detail}`]
  if (scopes !== undefined) lines.push(`          needed: ${scopes.join(' ')}`)
  if (retryAfter !== undefined) lines.push(`          to be tried again in ${retryAfter} s`)
  for (let one: Cause | undefined = cause; one !== undefined; one = one.cause) {
    lines.push(
      `          because: ${[one.name, one.code].filter(Boolean).join(' ')}: ${one.message}`,
    )
  }
  return lines
}

interface Cause {
  readonly name?: string
  readonly code?: string
  readonly message?: string
  readonly cause?: Cause
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

import { asGatewayError, type ErrorCode, type GatewayError } from '../errors.ts'
import type { ExchangeOutcome } from '../exchange/exchange.ts'
import type { Savings } from '../exchange/savings.ts'
import type { Journey } from '../gateway.ts'
import type { Log } from '../log.ts'
import type { Cell, Histogram, Metrics } from '../metrics.ts'
import { CallerGone } from '../proxy/caller.ts'

/** The metrics of one route: looked up once, then plain numbers. */
interface RouteMetrics {
  readonly byStatus: Map<number, Cell>
  readonly seconds: Histogram
  readonly upstreamSeconds: Histogram
}

/** The status that nginx logs for a caller that went away before it was answered. */
const CALLER_GONE = 499

const SPARED: ReadonlySet<ExchangeOutcome> = new Set(['hit', 'renewed', 'joined', 'shared'])

/** Writes the access line of a request, and counts the request. It never holds a query, a token or an upstream's text. */
export function createRecord(
  log: Log,
  metrics: Metrics,
  savings: Savings,
): (journey: Journey) => void {
  const routes = new Map<string, RouteMetrics>()
  const outcomes = new Map<ExchangeOutcome, Cell>()
  const told = new WeakSet<GatewayError>()

  function metricsOf(route: string): RouteMetrics {
    const known = routes.get(route)
    if (known !== undefined) return known
    const made = {
      byStatus: new Map<number, Cell>(),
      seconds: metrics.histogram('behalf_request_seconds', 'How long requests take.', { route }),
      upstreamSeconds: metrics.histogram(
        'behalf_upstream_seconds',
        'How long upstreams take to answer whole.',
        { route },
      ),
    }
    routes.set(route, made)
    return made
  }

  function count(journey: Journey, status: number, endedAt: number): void {
    const { outcome, startedAt, proxyAt, subject } = journey
    const route = journey.route?.name ?? ''
    const of = metricsOf(route)
    let cell = of.byStatus.get(status)
    if (cell === undefined) {
      const labels = { route, status: String(status) }
      cell = metrics.counter('behalf_requests_total', 'Requests by route and status.', labels)
      of.byStatus.set(status, cell)
    }
    cell.value++
    of.seconds.observe((endedAt - startedAt) / 1_000)
    if (proxyAt !== undefined) of.upstreamSeconds.observe((endedAt - proxyAt) / 1_000)
    if (outcome === undefined) return
    cacheCell(outcome).value++
    const spared = SPARED.has(outcome)
    // A request that failed before the proxy got no token, and was not spared an exchange.
    if (spared && proxyAt !== undefined && subject !== undefined) savings.save(subject.api.issuer)
  }

  function cacheCell(outcome: ExchangeOutcome): Cell {
    let cell = outcomes.get(outcome)
    if (cell === undefined) {
      const labels = { level: 'memory', outcome }
      cell = metrics.counter('behalf_cache_total', 'Exchanges by how they were answered.', labels)
      outcomes.set(outcome, cell)
    }
    return cell
  }

  return (journey) => {
    const { response, failure } = journey
    const gone = failure instanceof CallerGone
    const status = gone ? CALLER_GONE : response.statusCode
    const endedAt = performance.now()
    count(journey, status, endedAt)
    if (failure === undefined) {
      log.line(accessLine(journey, status, 'ok', endedAt))
      return
    }
    const error = asGatewayError(failure)
    const { code, cause } = error
    log.line(accessLine(journey, status, gone ? 'caller_gone' : code, endedAt))
    // Requests that joined one exchange share its error: the cause is logged once. An error without one needs only its code.
    if (gone || cause === undefined || told.has(error)) return
    told.add(error)
    log.logger[levelOf(code)]({ request_id: journey.id, code, error: cause }, error.message)
  }
}

/** Failures that any caller can cause. */
const OF_CALLERS: ReadonlySet<ErrorCode> = new Set([
  'invalid_token',
  'invalid_request',
  'invalid_dpop_proof',
])

/** `error` is for what an operator has to mend, `warn` for outages that pass, `info` for callers' mistakes. */
function levelOf(code: ErrorCode): 'error' | 'warn' | 'info' {
  if (code === 'internal_error' || code === 'exchange_misconfigured') return 'error'
  return OF_CALLERS.has(code) ? 'info' : 'warn'
}

/** Assembled as a string: logging an object would cost a quarter of what proxying the request does. */
function accessLine(
  { method, id, target, route, subject, outcome, startedAt, exchangeAt, proxyAt }: Journey,
  status: number,
  result: ErrorCode | 'ok' | 'caller_gone',
  endedAt: number,
): string {
  let line =
    `{"level":"info","time":"${isoTime()}Z","msg":"request","request_id":"${id}"` +
    `,"method":${quoted(method)},"path":${quoted(shown(target.path))}` +
    `,"status":${status},"result":"${result}","duration_ms":${rounded(endedAt - startedAt)}`
  if (route !== undefined) line += `,"route":${quoted(route.name)}`
  if (subject !== undefined) line += `,"token":"${subject.fingerprint}"`
  if (outcome !== undefined) line += `,"cache":"${outcome}"`
  if (exchangeAt !== undefined && outcome !== 'hit') {
    line += `,"exchange_ms":${rounded((proxyAt ?? endedAt) - exchangeAt)}`
  }
  if (proxyAt !== undefined) line += `,"upstream_ms":${rounded(endedAt - proxyAt)}`
  return line + '}'
}

const SHORT = 64
const TOKEN_SHAPED = /[\w~+=%-]{8,}(?:\.[\w~+=%-]*){2,}|[\w~+=%.-]{80,}/g

/** Masks what looks like a token, because some applications put tokens into paths. */
function shown(path: string): string {
  return path.length <= SHORT ? path : path.replace(TOKEN_SHAPED, '[masked]')
}

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text)
}

const THOUSANDTHS = Array.from({ length: 1_000 }, (_, n) => `.${String(n).padStart(3, '0')}`)

/** With three decimals, from whole numbers: converting a fraction to text costs several times as much. */
function rounded(ms: number): string {
  const microseconds = Math.round(ms * 1_000)
  return String(Math.floor(microseconds / 1_000)) + THOUSANDTHS[microseconds % 1_000]
}

let second = 0
let secondText = ''

/** As `Date.toISOString` without its `Z`, but made once a second: it would cost as much as the rest of the line. */
function isoTime(): string {
  const now = Date.now()
  const ms = now % 1_000
  if (now - ms !== second) {
    second = now - ms
    secondText = new Date(second).toISOString().slice(0, 19)
  }
  return secondText + THOUSANDTHS[ms]
}

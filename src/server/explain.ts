import type { Authenticate, SubjectToken } from '../authenticate/authenticate.ts'
import { credentials, type Presented } from '../authenticate/bearer.ts'
import { authorize, judge, type Permit } from '../authorize/authorize.ts'
import type { Issuer, Route } from '../config/config.ts'
import { durationText } from '../config/units.ts'
import { GatewayError } from '../errors.ts'
import { clientOf } from '../exchange/client.ts'
import { passthrough } from '../exchange/grants/passthrough.ts'
import { exchangeKey } from '../exchange/key.ts'
import { fingerprint } from '../log.ts'
import { pathAt } from '../proxy/lanes.ts'
import type { Match } from '../route/match.ts'
import { canonicalTarget, type Target } from '../route/target.ts'
import { endpointFor, formOf, keyFields } from './explain/asked.ts'
import { remedyOf } from './explain/remedy.ts'
import { Report, type Explanation } from './explain/report.ts'
import { noteSubject, noteUnverified } from './explain/token-facts.ts'
import { clientSecrets, secretsOf } from './secrets.ts'

/** The request to explain. */
export interface Question {
  readonly method: string
  /** Path and query, as a request line has them. */
  readonly target: string
  /** The Host header, needed for an absolute-form target and for routes with `match.hosts`. Default: none. */
  readonly host?: string | undefined
  /** The access token. Default: none is sent. */
  readonly token?: string | undefined
}

/**
 * Takes a request through the steps of the gateway as far as that costs nothing: keys are fetched where they are not known,
 * but no token endpoint and no upstream is asked. Never rejects: a refusal is part of the explanation.
 */
export type Explain = (question: Question) => Promise<Explanation>

export interface ExplainOptions {
  readonly routes: readonly Route[]
  readonly match: Match
  readonly authenticate: Authenticate
  readonly tokenEndpointOf: (
    issuer: Issuer,
    identifier: string,
    endpoint: 'tokenEndpoint' | 'mutualTlsTokenEndpoint',
  ) => string | Promise<string>
  /** The origins that callers reach the gateway by (`server.publicOrigin`). */
  readonly origins: readonly string[]
}

export function createExplain(options: ExplainOptions): Explain {
  const { routes } = options
  const apis = [...new Set(routes.flatMap(({ authenticate }) => authenticate.apis))]
  const redeemers = routes.flatMap(({ exchange }) =>
    exchange.grant === 'refresh-token' ? clientSecrets(exchange.client) : [],
  )
  return async (question) => {
    const { method, target, token } = question
    const report = new Report()
    const found: { route?: Route } = {}
    try {
      await walk(question, report, options, found)
      report.pass()
    } catch (error) {
      const circumstances = { ...question, routes, route: found.route }
      report.refuse(error, (step, code) => remedyOf(step, code, circumstances))
    }
    const { steps } = report
    // Removes a token that is in the query, or comes back in a claim.
    const own = [...redeemers, ...(token === undefined ? [] : [token])]
    return secretsOf(apis, ...own).without({
      ok: steps.every(({ verdict }) => verdict === 'passes'),
      request: { method, target, ...(token !== undefined && { token: fingerprint(token) }) },
      steps,
    })
  }
}

/** @throws {GatewayError} the refusal of the step that refuses */
async function walk(
  question: Question,
  report: Report,
  { match, authenticate, tokenEndpointOf, origins }: ExplainOptions,
  found: { route?: Route },
): Promise<void> {
  const { method, host } = question
  report.begin('route')
  const target = canonicalTarget(question.target, { host })
  const route = (found.route = match(method, host, target))
  report.note('route', route.name)
  const { methods, hosts, path } = route.match
  report.note('takes', `${methods?.join(', ') ?? 'every method'} ${path}`)
  if (hosts.length > 0) report.note('at', hosts.join(', '))

  report.begin('authenticate')
  const subject = await authenticated(question, target, { report, route, authenticate, origins })
  noteSubject(report, subject)

  report.begin('authorize')
  report.add({ conditions: judge(subject, route) })
  const permit = authorize(subject, route)

  report.begin('exchange')
  await explainExchange(permit, report, tokenEndpointOf)

  report.begin('proxy')
  for (const { url } of route.proxy.upstreams) {
    report.note('upstream', addressAt(url, route, target))
  }
}

/** The address that a request would go to. */
function addressAt(url: string, { proxy: { prefix, strip } }: Route, target: Target): string {
  const isSocket = url.startsWith('unix:')
  const { origin, pathname } = new URL(isSocket ? 'http://localhost' : url)
  const base = pathname.replace(/\/+$/, '') + prefix
  const path = pathAt({ base }, { stripped: strip.length }, target) + target.query
  return isSocket ? `${url} ${path}` : origin + path
}

interface Means {
  readonly report: Report
  readonly route: Route
  readonly authenticate: Authenticate
  readonly origins: readonly string[]
}

async function authenticated(
  { method, token }: Question,
  { path, query }: Target,
  { report, route, authenticate, origins }: Means,
): Promise<SubjectToken> {
  const headers = token === undefined ? [] : ['Authorization', `Bearer ${token}`]
  const shown = credentials(headers, query)
  const certificate = (): undefined => undefined
  const presented: Presented = { method, origins, target: path, certificate, ...shown }
  try {
    return await authenticate(presented, route)
  } catch (error) {
    const isToken = error instanceof GatewayError && error.code === 'invalid_token'
    if (isToken) noteUnverified(report, shown.token, route.authenticate.apis)
    throw error
  }
}

async function explainExchange(
  permit: Permit,
  report: Report,
  tokenEndpointOf: ExplainOptions['tokenEndpointOf'],
): Promise<void> {
  const { grant, key, maxAgeMs, bound } = permit.route.exchange
  report.note('grant', grant)
  if (grant === 'none') {
    report.note('sends', 'nothing: the upstream gets no credentials')
    return
  }
  if (grant === 'passthrough') {
    passthrough(permit)
    report.note('sends', 'nothing: the upstream gets the subject token itself')
    return
  }
  const client = clientOf(permit)
  report.note('client', client && `${client.id}, by ${client.method}`)
  report.note('bound', bound)
  report.add({ form: formOf(permit) })
  const endpoint = await endpointOf(permit, tokenEndpointOf)
  report.note('asks', `POST ${endpoint}`)
  const by = grant === 'client-credentials' ? 'the client, for all' : key
  report.note('kept by', `${by}, for at most ${durationText(maxAgeMs)}`)
  report.add({ key: keyFields(permit) })
  // With `grant: refresh-token` the key depends on the caller's refresh token, which is not given here.
  if (grant !== 'refresh-token') report.note('key', exchangeKey(permit))
}

async function endpointOf(
  permit: Permit,
  tokenEndpointOf: ExplainOptions['tokenEndpointOf'],
): Promise<string> {
  const { api, issuer } = permit.subject
  try {
    return await tokenEndpointOf(api.issuer, issuer, endpointFor(permit))
  } catch (cause) {
    throw new GatewayError('exchange_unavailable', 'the token endpoint is not known', { cause })
  }
}

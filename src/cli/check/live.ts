import { connect } from 'node:net'
import { createKeySet } from '../../authenticate/key-set.ts'
import { createMetadata, type IssuerMetadata } from '../../authenticate/metadata.ts'
import type { Api, Config, Issuer, Route } from '../../config/config.ts'
import { masked } from '../../log.ts'
import { createOutbound, type Outbound } from '../../outbound.ts'
import { isProvisioned } from '../../provision/desired.ts'
import { walk } from '../exchange/walk.ts'

/** The outcome of one test: something that has to work for a route to be served. */
export interface Proof {
  readonly route: string
  readonly step: 'discovery' | 'keys' | 'exchange' | 'upstream'
  /** What was tested: an issuer, an API, or an upstream. */
  readonly of: string
  /** `unproven`: nothing was tried. */
  readonly outcome: 'good' | 'failed' | 'unproven'
  readonly detail: string
  /** What to do about a failure. */
  readonly mend?: string
}

/** Subject tokens by the names of their APIs. */
export type SubjectTokens = ReadonlyMap<string, string>

/**
 * Tries what `serve` would do for each route, once: fetches metadata and keys of issuers, exchanges the given tokens with
 * all checks of the gateway, and connects to upstreams. Does NOT send a request to an upstream.
 */
export async function prove(config: Config, tokens: SubjectTokens): Promise<readonly Proof[]> {
  const outbound = createOutbound()
  const asked = new Map<string, Promise<Judgement>>()
  const once = (key: string, ask: () => Promise<Judgement>): Promise<Judgement> => {
    const known = asked.get(key) ?? ask()
    asked.set(key, known)
    return known
  }
  try {
    const proofs: Proof[] = []
    for (const route of config.routes)
      proofs.push(...(await proveRoute(route, { tokens, outbound, once })))
    return proofs
  } finally {
    await outbound.close()
  }
}

type Judgement = Omit<Proof, 'route' | 'step' | 'of'>

interface Means {
  readonly tokens: SubjectTokens
  readonly outbound: Outbound
  /** Runs a test that several routes need only once. */
  readonly once: (key: string, ask: () => Promise<Judgement>) => Promise<Judgement>
}

async function proveRoute(
  route: Route,
  { tokens, outbound, once }: Means,
): Promise<readonly Proof[]> {
  const proofs: Proof[] = []
  const add = async (
    step: Proof['step'],
    of: string,
    judged: Promise<Judgement>,
  ): Promise<void> => {
    proofs.push({ route: route.name, step, of, ...(await judged) })
  }
  const { apis } = route.authenticate
  for (const issuer of new Set(apis.map((api) => api.issuer))) {
    const own = apis.filter((api) => api.issuer === issuer)
    const asksForTokens = asksTheIssuer(route)
    const hasKeys = own.some(({ verification }) => verification.kind === 'jwks')
    for (const identifier of issuer.identifiers) {
      if (asksForTokens) {
        await add(
          'discovery',
          identifier,
          once(`discovery ${identifier}`, () => discovered(issuer, identifier, outbound)),
        )
      }
      if (hasKeys) {
        await add(
          'keys',
          identifier,
          once(`keys ${identifier}`, () => keysOf(issuer, identifier, outbound)),
        )
      }
    }
  }
  for (const api of apis)
    await add('exchange', api.name, exchanged(route, api, tokens.get(api.name)))
  for (const { url } of route.proxy.upstreams) {
    await add(
      'upstream',
      url,
      once(`upstream ${url}`, () => reached(url)),
    )
  }
  return proofs
}

function asksTheIssuer({ exchange: { grant } }: Route): boolean {
  return grant !== 'none' && grant !== 'passthrough'
}

async function discovered(
  issuer: Issuer,
  identifier: string,
  outbound: Outbound,
): Promise<Judgement> {
  return endpointOf(issuer, identifier, 'tokenEndpoint', outbound).then(
    (url) => ({ outcome: 'good', detail: `the token endpoint is ${url}` }),
    (error: unknown) =>
      failed(
        error,
        'the identifier must be exact, to the slash at its end, and reachable from here',
      ),
  )
}

async function keysOf(issuer: Issuer, identifier: string, outbound: Outbound): Promise<Judgement> {
  try {
    const url = await endpointOf(issuer, identifier, 'jwksUri', outbound)
    const answer = await outbound.fetch(url)
    if (answer.status !== 200) throw new Error(`${url} answers ${answer.status}`)
    createKeySet(await answer.text())
    return { outcome: 'good', detail: `the key set is ${url}` }
  } catch (error) {
    return failed(error, 'no token can be verified without it')
  }
}

async function endpointOf(
  issuer: Issuer,
  identifier: string,
  endpoint: keyof IssuerMetadata,
  outbound: Outbound,
): Promise<string> {
  return createMetadata(issuer, outbound)(identifier, endpoint)
}

function failed(error: unknown, mend: string): Judgement {
  const { message, cause } = error as Error
  const why = cause instanceof Error ? `${message}: ${cause.message}` : message
  return { outcome: 'failed', detail: masked(why), mend }
}

async function exchanged(route: Route, api: Api, token: string | undefined): Promise<Judgement> {
  if (route.exchange.grant === 'refresh-token') {
    const detail = `it would spend a refresh token: try \`behalf exchange ${route.name}\``
    return { outcome: 'unproven', detail }
  }
  if (token === undefined) {
    const detail = `give a token for ${api.audience}: --subject-token ${api.name}=FILE`
    return { outcome: 'unproven', detail }
  }
  const { refusal, issued } = await walk(route, token)
  if (refusal === undefined) {
    const scopes =
      issued === undefined || issued.scopes.length === 0 ? '' : `, with ${issued.scopes.join(' ')}`
    return { outcome: 'good', detail: `${issued?.scheme ?? 'none'} for the upstream${scopes}` }
  }
  const detail = `${refusal.code}: ${masked(refusal.detail)}`
  return { outcome: 'failed', detail, mend: mendOf(refusal.code, api) }
}

/** The likely cause of a failure, and its remedy. */
function mendOf(code: string, { name, audience, issuer }: Api): string {
  const setUp = isProvisioned(issuer)
    ? 'run `behalf provision`: it says what the tenant lacks, and mends it with --apply'
    : 'docs/providers.md says what the issuer must hold'
  switch (code) {
    case 'invalid_token':
      return `the token must be a fresh one for ${audience}, and signed as apis.${name} says`
    case 'insufficient_scope':
    case 'not_permitted':
    case 'insufficient_user_authentication':
      return "the token is not one for this route: compare its claims with the route's `authorize`"
    case 'exchange_denied':
      return `the issuer does not let this user's token be exchanged: a grant, a scope or consent is missing; ${setUp}`
    case 'exchange_misconfigured':
      return `the client's id or secret, its grant, or the issued token is not right; ${setUp}`
    default:
      return 'the issuer cannot be asked now: try again'
  }
}

const CONNECT_MS = 3_000

/** Opens a connection, and sends nothing. */
function reached(url: string): Promise<Judgement> {
  return new Promise((resolve) => {
    const socket = connect({ ...addressOf(url), timeout: CONNECT_MS })
    const end = (judged: Judgement): void => {
      socket.destroy()
      resolve(judged)
    }
    const mend = "start it, or correct the route's `proxy.upstream`"
    socket.on('connect', () => end({ outcome: 'good', detail: 'takes connections' }))
    socket.on('timeout', () => end({ outcome: 'failed', detail: 'does not answer in time', mend }))
    socket.on('error', (error: NodeJS.ErrnoException) =>
      end({ outcome: 'failed', detail: error.code ?? 'cannot be reached', mend }),
    )
  })
}

function addressOf(
  url: string,
): { readonly path: string } | { readonly host: string; readonly port: number } {
  if (url.startsWith('unix:')) return { path: url.slice('unix:'.length) }
  const { hostname, port, protocol } = new URL(url)
  const usual = protocol === 'https:' ? 443 : 80
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? usual : Number(port) }
}

const MARKS = { good: 'ok', failed: 'failed', unproven: 'unproven' } as const

/** A line for each test, and below a failure one with its remedy. */
export function proofsText(proofs: readonly Proof[]): string {
  const lines = proofs.flatMap(({ route, step, of, outcome, detail, mend }) => [
    `${MARKS[outcome].padEnd(8)}  ${route}  ${step}  ${of}: ${detail}`,
    ...(mend === undefined ? [] : [`          ${mend}`]),
  ])
  return `${lines.join('\n')}\n`
}

import { credentials, type Presented } from '../../authenticate/bearer.ts'
import { authorize, type Permit } from '../../authorize/authorize.ts'
import type { Api, Bound, Route } from '../../config/config.ts'
import { asGatewayError, GatewayError } from '../../errors.ts'
import { createExchange, type Exchange } from '../../exchange/exchange.ts'
import type { IssuedToken } from '../../exchange/issued.ts'
import { exchangeKey } from '../../exchange/key.ts'
import { keepFor } from '../../exchange/lifetime.ts'
import { createPurges } from '../../exchange/purge.ts'
import { bringing } from '../../exchange/redeem.ts'
import { Successions } from '../../exchange/succession.ts'
import { unexchanged } from '../../exchange/unexchanged.ts'
import { describeError, fingerprint } from '../../log.ts'
import { createOutbound, type Outbound } from '../../outbound.ts'
import { createAuthentication, type Authentication } from '../../server/authentication.ts'
import { clientSecrets, secretsOf } from '../../server/secrets.ts'
import { overhear, type Asked, type Overheard } from './overhear.ts'

/** The result of one exchange. Contains no token and no secret. */
export interface Report {
  readonly ok: boolean
  readonly route: string
  readonly grant: string
  readonly subject?: Subject
  readonly asked: readonly Asked[]
  readonly issued?: {
    readonly scheme: string
    readonly scopes: readonly string[]
    readonly bound?: Bound
  }
  readonly kept?: Kept
  readonly refusal?: Refusal
}

export interface Subject {
  readonly fingerprint: string
  readonly issuer: string
  readonly subject: string
  readonly audience: string
  readonly scopes: readonly string[]
  /** Zero if the token has expired, but is within the clock tolerance. */
  readonly secondsLeft: number
}

export interface Kept {
  /** What an entry belongs to: one subject token, one context, or the API itself. */
  readonly mode: 'token' | 'context' | 'client'
  readonly key: string
  /** 0: the token is used once, and not kept. */
  readonly seconds: number
}

export interface Refusal {
  readonly code: string
  readonly status: number
  readonly detail: string
  readonly scopes?: readonly string[]
  readonly retryAfter?: number
  readonly cause?: object
}

/** A refresh token to redeem, on a route that does. */
export interface Brought {
  readonly refreshToken: string
  /** Called with the next refresh token, before the rest of the answer is used. */
  readonly replace: (refreshToken: string) => Promise<void>
}

function ownSecrets({ exchange }: Route, brought: Brought | undefined): readonly string[] {
  const client = exchange.grant === 'refresh-token' ? exchange.client : undefined
  return [...clientSecrets(client), ...(brought === undefined ? [] : [brought.refreshToken])]
}

/**
 * Takes a token through the steps of the gateway, as for a request: authenticates, authorizes, and exchanges it at the
 * issuer, once. Uses no cache, keeps nothing, and spends one exchange of the issuer's budget.
 */
export async function walk(route: Route, token: string, brought?: Brought): Promise<Report> {
  const { apis } = route.authenticate
  const secrets = secretsOf(apis, token, ...ownSecrets(route, brought))
  const plain = createOutbound()
  const authentication = createAuthentication({ ...REMEMBERED, apis, outbound: plain })
  const nameOf = (value: string): string | undefined =>
    value === token ? `[token ${fingerprint(token)}]` : undefined
  const overheard = overhear({ secrets, nameOf })
  let permit: Permit | undefined
  let outcome: Partial<Report>
  try {
    permit = await permitFor(route, token, authentication)
    const means = { authentication, plain, overheard, brought }
    outcome = granted(permit, await exchangeOnce(permit, means))
  } catch (error) {
    outcome = { refusal: refusalOf(error) }
  } finally {
    await authentication.close()
    await plain.close()
  }
  return secrets.without({
    ok: outcome.refusal === undefined,
    route: route.name,
    grant: route.exchange.grant,
    ...(permit && { subject: subjectOf(permit) }),
    asked: overheard.asked,
    ...outcome,
  })
}

/** Enough for the one token that is verified. */
const REMEMBERED = { maxEntries: 1, maxBytes: 1_048_576 }

const UNPROVEN =
  'the API takes only tokens with a proof of possession, and this command has neither the key nor the certificate of ' +
  'the caller: send a request to the gateway instead'

function isProofNeeded({ proofOfPossession: possession }: Api): boolean {
  return possession !== undefined && possession.required && possession.exempt.size === 0
}

async function permitFor(
  route: Route,
  token: string,
  { authenticate }: Authentication,
): Promise<Permit> {
  if (route.authenticate.apis.every(isProofNeeded))
    throw new GatewayError('invalid_token', UNPROVEN)
  const presented: Presented = {
    method: route.match.methods?.[0] ?? 'GET',
    origins: [],
    target: route.match.path,
    ...credentials(['Authorization', `Bearer ${token}`], ''),
    certificate: () => undefined,
  }
  return authorize(await authenticate(presented, route), route)
}

interface Means {
  readonly authentication: Authentication
  readonly plain: Outbound
  readonly overheard: Overheard
  readonly brought: Brought | undefined
}

async function exchangeOnce(
  permit: Permit,
  { authentication, plain, overheard: { hear }, brought }: Means,
): Promise<IssuedToken> {
  const successions = new Successions(REMEMBERED, createPurges())
  const exchange = createExchange({
    tokenEndpointOf: async (issuer, identifier, endpoint) =>
      authentication.metadataOf(issuer)(identifier, endpoint),
    outbound: hear(plain),
    presenting: (identity) => hear(createOutbound({ identity }), 'tls_client_auth'),
  })
  try {
    return await unexchanged(bringing(redeemingOnce(exchange, brought), successions))(permit, {
      signal: new AbortController().signal,
      deadline: Date.now() + permit.route.exchange.timeoutMs,
      outcome: undefined,
      refreshToken: brought?.refreshToken,
    })
  } finally {
    await exchange.close()
  }
}

/** Hands on the next refresh token at once, because the one that was redeemed is spent. */
function redeemingOnce(exchange: Exchange, brought: Brought | undefined): Exchange {
  if (brought === undefined) return exchange
  const { refreshToken: token, replace: keep } = brought
  return (permit, ask) =>
    exchange(permit, {
      signal: ask.signal,
      deadline: ask.deadline,
      outcome: undefined,
      refresh: { token, sent: () => undefined, keep },
    })
}

function granted(permit: Permit, token: IssuedToken): Partial<Report> {
  const { grant, key: mode } = permit.route.exchange
  const { bound } = permit.route.exchange
  const issued = { scheme: token.scheme, scopes: token.scopes, ...(bound && { bound }) }
  if (grant === 'none' || grant === 'passthrough') return { issued }
  const keptMs = keepFor(permit, token, Date.now())
  return {
    issued,
    kept: {
      mode: grant === 'client-credentials' ? 'client' : mode,
      key: exchangeKey(permit),
      seconds: Math.max(0, Math.floor(keptMs / 1_000)),
    },
  }
}

function subjectOf({ subject }: Permit): Subject {
  return {
    fingerprint: subject.fingerprint,
    issuer: subject.issuer,
    subject: subject.subject,
    audience: subject.api.audience,
    scopes: [...subject.scopes],
    secondsLeft: Math.max(0, Math.floor((subject.expiresAt - Date.now()) / 1_000)),
  }
}

function refusalOf(error: unknown): Refusal {
  const { code, status, message, scopes, retryAfter, cause } = asGatewayError(error)
  return {
    code,
    status,
    detail: message,
    ...(scopes && { scopes }),
    ...(retryAfter !== undefined && { retryAfter }),
    ...(cause instanceof Error && { cause: describeError(cause, 1) }),
  }
}

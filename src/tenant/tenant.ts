import { once } from 'node:events'
import http from 'node:http'
import express, { type Express } from 'express'
import { createDiscovery } from './discovery.ts'
import { createDpop, type Dpop } from './dpop.ts'
import { createFaultsEndpoint } from './faults-endpoint.ts'
import { createFaults, type Fault, type Faults } from './faults.ts'
import { createFaulty } from './faulty.ts'
import { createClientCredentialsGrant } from './grants/client-credentials.ts'
import { createLogin, createPasswordGrant, type Login } from './grants/password.ts'
import { createRefreshTokenGrant } from './grants/refresh-token.ts'
import { createTokenExchangeGrant, TOKEN_EXCHANGE } from './grants/token-exchange.ts'
import { createIssue } from './issue.ts'
import { createKeys, type Keys } from './keys.ts'
import { createLimiter, type Counts, type Limit, type Limiter } from './limiter.ts'
import { listenOnLoopback } from './listen.ts'
import { createRefreshTokens } from './refresh-tokens.ts'
import { seedDemo } from './seed.ts'
import { createState, type State } from './state.ts'
import type { Permissions, User } from './user.ts'
import { createSubjectVerifier } from './subject-token.ts'
import { createTokenEndpoint, type Grants, type TokenRequest } from './token-endpoint.ts'

export interface TenantOptions {
  /** `host:port` on loopback. Default `127.0.0.1:0`: any port that is free. */
  readonly listen?: string
  /** Start without the demonstration's objects. Default false. */
  readonly empty?: boolean
  /** Adds objects before the first request. */
  readonly seed?: (state: State) => void
  /**
   * How many exchanges are allowed; beyond it the answer is 429 `too_many_requests`. Default `false`: any number, so
   * that a test meets only the limit that it is about. `behalf tenant` allows 8 per second.
   */
  readonly limit?: Limit | false
  /** Want a nonce of the tenant's in each DPoP proof (RFC 9449, section 8). Default false. */
  readonly dpopNonces?: boolean
  /** In epoch milliseconds. Default: `Date.now`. */
  readonly clock?: () => number
}

export interface TokenOptions {
  /** A user's name. */
  readonly user: string
  readonly audience: string
  /** Separated by spaces. Default: everything that the user holds. */
  readonly scope?: string
  /** Who logs the user in. Default `spa`. */
  readonly client?: string
}

/** An Auth0-shaped authorization server in this process. */
export interface Tenant {
  /** Its issuer identifier, with a trailing slash, as Auth0's have: `http://127.0.0.1:9400/`. */
  readonly url: string
  /** Its objects, to look at and to change. */
  readonly state: State
  /**
   * An access token, as a login with the user's password gives it.
   *
   * @throws when the user or the client is unknown, or the tenant refuses
   */
  token(options: TokenOptions): Promise<string>
  /**
   * A user `auth0|NAME` whose password is the name.
   *
   * @param permissions by audience. Default: every scope of every API there is now.
   */
  addUser(name: string, permissions?: Permissions): User
  /** Signs with a new key from now on. The previous ones stay in the key set. */
  rotateKeys(): Promise<void>
  /** Takes all keys but the current one out of the key set. */
  dropPreviousKeys(): void
  /**
   * Gets requests for tokens wrong from now on, as `POST /_tenant/faults` does. Several faults come one after the other.
   *
   * @throws {TypeError} for what is no fault
   */
  fault(fault: Fault): void
  clearFaults(): void
  /** How many exchanges were asked for since the start, whatever became of them. */
  exchanges(): number
  /** How many of them were within the limit and beyond it. Without a limit all are within it. */
  limited(): Counts
  /** Every request to the token endpoint since the start, without its secrets; the oldest first, at most 10 000. */
  requests(): readonly TokenRequest[]
  /** Ends all connections and the listener. */
  close(): Promise<void>
}

/**
 * Starts a tenant: token endpoint, discovery and key set. For tests and demonstrations: it keeps passwords as they are,
 * in memory, and listens on loopback only.
 */
export async function createTenant(options: TenantOptions = {}): Promise<Tenant> {
  const { listen = '127.0.0.1:0', empty = false, seed, clock = () => Date.now() } = options
  const limiter = options.limit ? createLimiter(options.limit, clock) : undefined
  const state = createState()
  if (!empty) seedDemo(state)
  seed?.(state)
  const keys = await createKeys()
  const journal = createJournal()
  const server = http.createServer()
  const issuer = `${await listenOnLoopback(server, listen)}/`
  const faults = createFaults()
  const { record } = journal
  const dpop = createDpop({
    url: `${issuer}oauth/token`,
    nonces: options.dpopNonces ?? false,
    now: clock,
  })
  const { app, login } = createApp({
    ...{ issuer, state, keys, dpop, limiter, faults, record },
    now: clock,
  })
  server.on('request', app)

  return {
    url: issuer,
    state,
    async token({ user: name, audience, scope, client: clientId = 'spa' }) {
      const user = state.users.get(name)
      const client = state.clients.get(clientId)
      if (user === undefined) throw new TypeError(`the tenant has no user ${name}`)
      if (client === undefined) throw new TypeError(`the tenant has no client ${clientId}`)
      const answer = await login(user, client, audience, scope?.split(' '))
      return answer.access_token
    },
    addUser: (name, permissions) => state.addUser(name, name, permissions),
    rotateKeys: () => keys.rotate(),
    dropPreviousKeys: () => keys.dropPrevious(),
    fault: faults.add,
    clearFaults: faults.clear,
    exchanges: journal.exchanges,
    limited: () => limiter?.counts() ?? { allowed: journal.exchanges(), refused: 0 },
    requests: journal.requests,
    async close() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

interface AppOptions {
  readonly issuer: string
  readonly state: State
  readonly keys: Keys
  readonly dpop: Dpop
  readonly now: () => number
  readonly limiter: Limiter | undefined
  readonly faults: Faults
  readonly record: (request: TokenRequest) => void
}

function createApp(options: AppOptions): {
  readonly app: Express
  readonly login: Login
} {
  const { issuer, state, keys, dpop, now, limiter, faults, record } = options
  const issue = createIssue({ issuer, keys, now })
  const refreshTokens = createRefreshTokens(now)
  const login = createLogin({ state, issue, refreshTokens })
  const verifySubject = createSubjectVerifier({ state, issuer, keys, now })
  const grants: Grants = {
    password: createPasswordGrant(state, login),
    client_credentials: createClientCredentialsGrant(state, issue),
    refresh_token: createRefreshTokenGrant(state, issue, refreshTokens),
    [TOKEN_EXCHANGE]: createTokenExchangeGrant({ state, issue, verifySubject }),
  }
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.use('/.well-known', createDiscovery({ issuer, keys, grantTypes: Object.keys(grants) }))
  const faulty = createFaulty({ state, keys, now })
  const tokens = createTokenEndpoint({ state, grants, dpop, limiter, faults, faulty, record })
  app.use('/oauth/token', tokens)
  app.use('/_tenant/faults', createFaultsEndpoint(faults))
  app.use((_request, response) => void response.status(404).json({ error: 'not_found' }))
  return { app, login }
}

const LONGEST_JOURNAL = 10_000

interface Journal {
  readonly record: (request: TokenRequest) => void
  readonly exchanges: () => number
  readonly requests: () => readonly TokenRequest[]
}

function createJournal(): Journal {
  let requests: TokenRequest[] = []
  let exchanges = 0
  return {
    record(request) {
      if (request.grantType === TOKEN_EXCHANGE) exchanges++
      requests.push(request)
      if (requests.length >= 2 * LONGEST_JOURNAL) requests = requests.slice(-LONGEST_JOURNAL)
    },
    exchanges: () => exchanges,
    requests: () => requests.slice(-LONGEST_JOURNAL),
  }
}

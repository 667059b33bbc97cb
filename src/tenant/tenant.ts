import { once } from 'node:events'
import http from 'node:http'
import express, { type Express } from 'express'
import { createAuthenticateClient } from './client-authentication.ts'
import { createDiscovery } from './discovery.ts'
import { createDpop, type Dpop } from './dpop.ts'
import { createFaultsEndpoint } from './faults-endpoint.ts'
import { createFaults, type Fault, type Faults } from './faults.ts'
import { readForm } from './form.ts'
import { createFaulty } from './faulty.ts'
import { createClientCredentialsGrant } from './grants/client-credentials.ts'
import { createLogin, createPasswordGrant, type Login } from './grants/password.ts'
import { createRefreshTokenGrant } from './grants/refresh-token.ts'
import { createLegacyTokenExchangeGrant } from './grants/token-exchange-legacy.ts'
import { createTokenExchangeGrant, TOKEN_EXCHANGE } from './grants/token-exchange.ts'
import { createIssue } from './issue.ts'
import { createJournal } from './journal.ts'
import { createKeys, type Keys } from './keys.ts'
import { createLimiter, type Counts, type Limit, type Limiter } from './limiter.ts'
import { listenOnLoopback } from './listen.ts'
import type { Generation } from './management/kind.ts'
import { createManagement, type ManagementCall } from './management/management.ts'
import { createSystem, newManagementClient, type ManagementClient } from './management/system.ts'
import { createRefreshTokens } from './refresh-tokens.ts'
import { seedDemo } from './seed.ts'
import { createState, type State, type SystemObjects } from './state.ts'
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
  /**
   * How many calls of the Management API are allowed; beyond it the answer is 429. Default `false`: any number, and
   * answers tell of no limit. `behalf tenant` allows 16 per second and 50 at once.
   */
  readonly managementLimit?: Limit | false
  /** The client that may call the Management API. Default: a new one, see {@link Tenant.management}. */
  readonly management?: ManagementClient
  /**
   * `legacy`: the objects and the exchange of 2019. The API itself says what it may exchange, and there is neither
   * `requested_token_type` nor `act`. Default `current`.
   */
  readonly generation?: Generation
  /** Demand a nonce of the tenant in each DPoP proof (RFC 9449, section 8). Default false. */
  readonly dpopNonces?: boolean
  /**
   * The first signing key: an RSA private key in PEM, of 2048 bits or more. Default: a new one, which takes a tenth of a
   * second, most of a start. Tenants with the same key accept each other's signatures.
   */
  readonly signingKey?: string
  /** In epoch milliseconds. Default: `Date.now`. */
  readonly clock?: () => number
}

export interface TokenOptions {
  /** A user's name. */
  readonly user: string
  readonly audience: string
  /** Separated by spaces. Default: everything that the user holds. */
  readonly scope?: string
  /** The client that logs the user in. Default `spa`. */
  readonly client?: string
}

/** An Auth0-shaped authorization server in this process. */
export interface Tenant {
  /** Its issuer identifier, with a trailing slash, as Auth0's have: `http://127.0.0.1:9400/`. */
  readonly url: string
  /** Its objects, which may be read and changed. */
  readonly state: State
  /**
   * An access token, obtained by a login with the user's password.
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
   * Orders a fault for requests from now on, as `POST /_tenant/faults` does. Several faults come one after the other.
   *
   * @throws {TypeError} if it is not a fault
   */
  fault(fault: Fault): void
  clearFaults(): void
  /** The client that may call the Management API, at `{url}api/v2/`, by client credentials. */
  readonly management: ManagementClient
  /** A token for the Management API. @param scope Separated by spaces. Default: everything. */
  managementToken(scope?: string): Promise<string>
  /** Every call of the Management API since the start; the oldest first, at most 10 000. */
  managementCalls(): readonly ManagementCall[]
  /** The number of exchanges that were requested since the start, whatever their outcome. */
  exchanges(): number
  /** How many of these were within the limit and beyond it. Without a limit all are within it. */
  limited(): Counts
  /** Every request to the token endpoint since the start, without its secrets; the oldest first, at most 10 000. */
  requests(): readonly TokenRequest[]
  /** Ends all connections and the listener. */
  close(): Promise<void>
}

/**
 * Starts a tenant: token endpoint, Management API, discovery and key set. For tests and demonstrations: it keeps passwords
 * in the clear, in memory, and listens on loopback only.
 *
 * @throws {TypeError} `signingKey` is not an RSA key, or is too short
 */
export async function createTenant(options: TenantOptions = {}): Promise<Tenant> {
  const { listen = '127.0.0.1:0', empty = false, seed, clock = () => Date.now() } = options
  const limiter = options.limit ? createLimiter(options.limit, clock) : undefined
  const state = createState()
  const { generation = 'current', management = newManagementClient() } = options
  if (!empty) seedDemo(state, generation)
  seed?.(state)
  const keys = await createKeys(options.signingKey)
  const journal = createJournal<TokenRequest>(({ grantType }) => grantType === TOKEN_EXCHANGE)
  const calls = createJournal<ManagementCall>(() => true)
  const server = http.createServer()
  const issuer = `${await listenOnLoopback(server, listen)}/`
  state.addSystem(createSystem(issuer, management))
  const faults = createFaults()
  const { record } = journal
  const dpop = createDpop({
    url: `${issuer}oauth/token`,
    nonces: options.dpopNonces ?? false,
    now: clock,
  })
  const { app, login, managementToken } = createApp({
    issuer,
    state,
    keys,
    dpop,
    limiter,
    faults,
    record,
    generation,
    recordCall: calls.record,
    callLimiter: options.managementLimit
      ? createLimiter(options.managementLimit, clock)
      : undefined,
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
    management,
    managementToken,
    managementCalls: calls.entries,
    addUser: (name, permissions) => state.addUser(name, name, permissions),
    rotateKeys: () => keys.rotate(),
    dropPreviousKeys: () => keys.dropPrevious(),
    fault: faults.add,
    clearFaults: faults.clear,
    exchanges: journal.count,
    limited: () => limiter?.counts() ?? { allowed: journal.count(), refused: 0 },
    requests: journal.entries,
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
  readonly generation: Generation
  readonly callLimiter: Limiter | undefined
  readonly recordCall: (call: ManagementCall) => void
}

function createApp(options: AppOptions): {
  readonly app: Express
  readonly login: Login
  readonly managementToken: Tenant['managementToken']
} {
  const { issuer, state, keys, dpop, now, limiter, faults, record, generation } = options
  const issue = createIssue({ issuer, keys, now })
  const refreshTokens = createRefreshTokens(now)
  const login = createLogin({ state, issue, refreshTokens })
  const verifySubject = createSubjectVerifier({ state, issuer, keys, now })
  const clientCredentials = createClientCredentialsGrant(state, issue)
  const grants: Grants = {
    password: createPasswordGrant(state, login),
    client_credentials: clientCredentials,
    refresh_token: createRefreshTokenGrant(state, issue, refreshTokens),
    [TOKEN_EXCHANGE]:
      generation === 'legacy'
        ? createLegacyTokenExchangeGrant({ state, issue, verifySubject, refreshTokens })
        : createTokenExchangeGrant({ state, issue, verifySubject }),
  }
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.use('/.well-known', createDiscovery({ issuer, keys, grantTypes: Object.keys(grants) }))
  const faulty = createFaulty({ state, keys, now })
  const authenticateClient = createAuthenticateClient({ state, issuer, now })
  const tokens = createTokenEndpoint({
    authenticateClient,
    grants,
    dpop,
    limiter,
    faults,
    faulty,
    record,
  })
  app.use('/oauth/token', tokens)
  const management = {
    state,
    issuer,
    keys,
    generation,
    limiter: options.callLimiter,
    faults,
    faulty,
  }
  app.use('/api/v2', createManagement({ ...management, record: options.recordCall, now }))
  app.use('/_tenant/faults', createFaultsEndpoint(faults))
  app.use((_request, response) => void response.status(404).json({ error: 'not_found' }))
  return {
    app,
    login,
    async managementToken(scope) {
      const { server, client } = systemOf(state)
      const form = { audience: server.identifier, ...(scope === undefined ? {} : { scope }) }
      return (await clientCredentials(readForm(form), client)).access_token
    },
  }
}

function systemOf({ system }: State): SystemObjects {
  if (system === undefined) throw new TypeError('the tenant has not started')
  return system
}

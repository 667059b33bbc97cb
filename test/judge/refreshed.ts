import { randomUUID } from 'node:crypto'
import { SignJWT, type JWTPayload } from 'jose'
import { startIssuer } from '../issuer.ts'
import { claimsOf, oneRoute, startGateway, startUpstream, type Scope } from '../system.ts'
import { openCallers, type Ask } from './callers.ts'
import { Faults, type Finding, type Load } from './load.ts'

export interface RefreshedSize {
  readonly users: number
  /** How many of them come with a token that says something else, for each of the claims. */
  readonly differing: number
}

export const refreshed: Load = {
  name: 'refreshed',
  claim:
    'tokens that are only refreshed cost no exchange with `key: context`; what else differs costs one',
  limitMs: 5 * 60_000,
  judge: (scope) => judgeRefreshed(scope, { users: 10_000, differing: 500 }),
}

const SECRET = 'a signing secret of the storefront, for nothing else'
const CALLERS = 100

/** What a token may say beside who it is of, each other than the base says it. `cnf` needs a proof: see `key.test.ts`. */
const DIFFERING: Readonly<Record<string, JWTPayload>> = {
  acr: { acr: 'urn:example:strong' },
  amr: { amr: ['pwd', 'otp'] },
  auth_time: { auth_time: 1_000_000_000 },
  scope: { scope: 'read:orders more' },
  permissions: { permissions: ['orders'] },
  org_id: { org_id: 'org_1' },
  azp: { azp: 'another-client' },
  sid: { sid: 'another session' },
  act: { act: { sub: 'somebody' } },
  'an unknown claim': { 'https://example.com/plan': 'gold' },
}

/** Everybody's token is refreshed at once; then some come with tokens that differ in one claim. */
export async function judgeRefreshed(scope: Scope, size: RefreshedSize): Promise<Finding> {
  const issuer = await startIssuer(scope)
  const upstream = await startUpstream(scope)
  const configuration = oneRoute({
    issuer: issuer.url,
    upstream: upstream.origin,
    api: { algorithms: ['HS256'], signingSecret: SECRET },
    exchange: { key: 'context', timeout: '60s' },
  })
  const gateway = await startGateway(scope, configuration)
  const ask = await openCallers(scope, gateway.origin, CALLERS)
  const crowd = new Crowd(issuer.url, ask)
  const counts: Record<string, number> = {}

  async function come(what: string, users: number, expected: number, claims: JWTPayload = {}) {
    const before = issuer.exchanges.length
    upstream.received.length = 0
    await crowd.come(users, claims)
    counts[`exchanges: ${what}`] = issuer.exchanges.length - before
    crowd.faults.unless(issuer.exchanges.length - before, expected, `exchanges, ${what}`)
    crowd.faults.unless(upstream.received.length, users, `requests at the upstream, ${what}`)
    for (const { url, headers } of upstream.received) {
      const { sub } = claimsOf(headers.authorization)
      crowd.faults.unless(sub, url.slice('/orders/'.length), `${what}: the token of ${url}`)
    }
  }

  await come('first tokens', size.users, size.users)
  await come('refreshed tokens', size.users, 0)
  for (const [what, claims] of Object.entries(DIFFERING)) {
    await come(`another ${what}`, size.differing, size.differing, claims)
    await come(`another ${what}, refreshed`, size.differing, 0, claims)
  }
  return { counts: { users: size.users, ...counts }, faults: crowd.faults.told }
}

class Crowd {
  readonly faults = new Faults()
  readonly #issuer: string
  readonly #ask: Ask

  constructor(issuer: string, ask: Ask) {
    this.#issuer = issuer
    this.#ask = ask
  }

  /** Each of so many users once, with a token that was made just now. */
  async come(users: number, claims: JWTPayload): Promise<void> {
    let next = 0
    const caller = async (): Promise<void> => {
      while (next < users) {
        const user = `user-${next++}`
        const { status } = await this.#ask(`/orders/${user}`, {
          token: await this.#token(user, claims),
        })
        this.faults.unless(status, 200, `${user} was answered`)
      }
    }
    await Promise.all(Array.from({ length: CALLERS }, caller))
  }

  #token(sub: string, claims: JWTPayload): Promise<string> {
    const now = Math.floor(Date.now() / 1_000)
    // A second is not enough to tell two tokens apart: `jti` does.
    const usual = {
      iat: now,
      exp: now + 3_600,
      jti: randomUUID(),
      scope: 'read:orders',
      azp: 'spa',
    }
    const whose = { iss: this.#issuer, aud: 'https://storefront.example', sub }
    return new SignJWT({ ...usual, ...whose, ...claims })
      .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt' })
      .sign(Buffer.from(SECRET))
  }
}

import type http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { respond, startIssuer, type TestIssuer } from '../issuer.ts'
import { unsignedJwt } from '../support.ts'
import { startGateway, startUpstream, type Received, type Scope } from '../system.ts'
import { openCallers, type Answered, type Ask } from './callers.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { random, type Random } from './random.ts'
import { cacheOutcomes } from './setting.ts'

export interface IdentitySize {
  readonly requests: number
  readonly users: number
  /** Fewer than there are users times routes, so that entries are evicted all the time. */
  readonly cacheEntries: number
}

export const identity: Load = {
  name: 'identity',
  claim: 'nobody meets the token of another, or one for another audience',
  limitMs: 20 * 60_000,
  judge: (scope, seed) =>
    judgeIdentity(scope, { requests: 100_000, users: 1_000, cacheEntries: 400 }, seed),
}

/**
 * A mix of users, routes, aborts and tokens that are wrong, with a cache that is too small and lifetimes of seconds. The
 * issuer remembers to whom it gave what, and the upstream looks that up for every request that it receives.
 */
export async function judgeIdentity(
  scope: Scope,
  size: IdentitySize,
  seed: number,
): Promise<Finding> {
  const faults = new Faults()
  const issuer = await startIssuer(scope)
  const issued = rememberIssued(issuer, seed)
  const upstream = await startUpstream(scope, (received, response) => {
    // The upstream remembers nothing by itself: it would be most of what this process holds.
    upstream.received.length = 0
    answer(received, response, issued, faults)
  })
  const gateway = await startGateway(
    scope,
    configuration(issuer.url, upstream.origin, size.cacheEntries),
  )
  const ask = await openCallers(scope, gateway.origin, CALLERS)
  const crowd = new Crowd({ issuer, ask, faults, users: size.users, seed })
  let next = 0
  const caller = async (): Promise<void> => {
    while (next < size.requests) await crowd.request(next++)
  }
  await Promise.all(Array.from({ length: CALLERS }, caller))

  if (/eyJ[\w-]{8,}\./.test(gateway.logged())) faults.add('a token stands in the log')
  const { hit = 0, joined = 0, miss = 0 } = cacheOutcomes(gateway)
  for (const [what, count] of Object.entries({ ...crowd.counts, hit, joined, miss })) {
    if (count === 0) faults.add(`the load had no ${what} in it`)
  }
  const cache = `${hit} hits, ${joined} joined, ${miss} misses of ${size.cacheEntries} entries`
  const { expired } = crowd
  const counts = {
    users: size.users,
    ...crowd.counts,
    'expired on the way': expired,
    cache,
    exchanges: issued.size,
  }
  return { counts, faults: faults.told }
}

const CALLERS = 64
const SLOWEST_EXCHANGE_MS = 20
const STOREFRONT = 'https://storefront.example'
/** By the route's first segment. */
const AUDIENCES: Readonly<Record<string, string>> = {
  orders: 'https://orders.internal',
  inventory: 'https://inventory.internal',
  invoices: 'https://invoices.internal',
}
const ROUTES = Object.keys(AUDIENCES)
/** Issued tokens live for one or two seconds, subject tokens for ten to fifteen. */
const ISSUED_SECONDS = [1, 2] as const
const SUBJECT_SECONDS = [10, 15] as const

function configuration(issuer: string, upstream: string, maxEntries: number): object {
  return {
    issuers: { tenant: { issuer, profile: 'rfc8693' } },
    apis: {
      storefront: {
        issuer: 'tenant',
        audience: STOREFRONT,
        algorithms: ['RS256'],
        clockTolerance: '0s',
        client: { id: 'storefront', secret: 'a-secret-of-the-storefront' },
      },
    },
    routes: ROUTES.map((name) => ({
      name,
      match: { path: `/${name}` },
      authenticate: { api: 'storefront' },
      authorize: { scopes: ['read:orders'] },
      exchange: {
        audience: AUDIENCES[name],
        scopes: ['read'],
        key: name === 'orders' ? 'token' : 'context',
      },
      proxy: { upstream },
    })),
    cache: { maxEntries },
  }
}

interface Issued {
  readonly user: string
  readonly audience: string
}

/** No two tokens of this issuer are alike, and it knows whose each is. */
function rememberIssued(issuer: TestIssuer, seed: number): ReadonlyMap<string, Issued> {
  const issued = new Map<string, Issued>()
  issuer.answer = async (form, response) => {
    // Half of them take a while, so that others come and go meanwhile.
    const slow = random(seed, -2 - issued.size)
    issuer.exchanges.length = 0
    if (slow.oneIn(2)) await sleep(slow.below(SLOWEST_EXCHANGE_MS))
    const user = subjectOf(form.get('subject_token') ?? '')
    const audience = form.get('audience') ?? ''
    const lifetime = ISSUED_SECONDS[issued.size % ISSUED_SECONDS.length]!
    const exp = Math.floor(Date.now() / 1_000) + 60
    const token = unsignedJwt({ iss: issuer.url, sub: user, aud: audience, exp, jti: issued.size })
    issued.set(token, { user, audience })
    respond(response, {
      access_token: token,
      token_type: 'Bearer',
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      expires_in: lifetime,
    })
  }
  return issued
}

function subjectOf(token: string): string {
  const [, payload = ''] = token.split('.')
  return (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: string }).sub
}

/** Who asks stands in `x-canary`, with the number of the request; the token has to say the same. */
function answer(
  { url, headers, body }: Received,
  response: http.ServerResponse,
  issued: ReadonlyMap<string, Issued>,
  faults: Faults,
): void {
  const canary = String(headers['x-canary'])
  const [user] = canary.split(' ')
  const token = issued.get((headers.authorization ?? '').replace('Bearer ', ''))
  faults.unless(token?.user, user, `the token of ${canary} at ${url} is of`)
  faults.unless(token?.audience, AUDIENCES[url.split('/')[1] ?? ''], `the audience at ${url}`)
  respond(response, { canary, user: token?.user, audience: token?.audience, body })
}

interface Subject {
  readonly token: string
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

interface CrowdOptions {
  readonly issuer: TestIssuer
  readonly ask: Ask
  readonly faults: Faults
  readonly users: number
  readonly seed: number
}

/** Half of all requests are of these many users, so that there are hits and joined exchanges too. */
const REGULARS = 20
const ONE_IS_WRONG_IN = 10
const ONE_IS_ABORTED_IN = 10
const LONGEST_PATIENCE_MS = 8
const WRONG_TOKENS = ['of two halves', 'spelled otherwise', 'for another API', 'expired'] as const

class Crowd {
  readonly counts = { served: 0, aborted: 0, refused: 0 }
  /** Tokens that were good when they were sent, and refused when they arrived. */
  expired = 0
  readonly #options: CrowdOptions
  readonly #subjects = new Map<string, Promise<Subject>>()

  constructor(options: CrowdOptions) {
    this.#options = options
  }

  /** What it is follows from the seed and its number alone; what it meets, from everything that goes on meanwhile. */
  async request(number: number): Promise<void> {
    const chosen = random(this.#options.seed, number)
    const user = this.#user(chosen)
    const route = ROUTES[chosen.below(ROUTES.length)]!
    if (chosen.oneIn(ONE_IS_WRONG_IN)) await this.#presentWrong(chosen, number, user, route)
    else await this.#present(chosen, number, user, route)
  }

  #user(chosen: Random): string {
    const { users } = this.#options
    return `user-${chosen.below(chosen.oneIn(2) ? Math.min(REGULARS, users) : users)}`
  }

  async #present(chosen: Random, number: number, user: string, route: string): Promise<void> {
    const { token, expiresAt } = await this.#subject(user, chosen)
    const canary = `${user} ${number}`
    const body = chosen.oneIn(3) ? `the body of ${canary}` : ''
    const controller = new AbortController()
    if (chosen.oneIn(ONE_IS_ABORTED_IN)) {
      setTimeout(() => controller.abort(), chosen.below(LONGEST_PATIENCE_MS))
    }
    let answered: Answered
    try {
      answered = await this.#options.ask(`/${route}/${number}`, {
        token,
        headers: { 'x-canary': canary },
        ...(body === '' ? {} : { method: 'POST', body }),
        signal: controller.signal,
      })
    } catch (error) {
      if (!controller.signal.aborted) throw error
      this.counts.aborted++
      return
    }
    if (answered.status === 401 && Date.now() >= expiresAt) {
      this.expired++
      return
    }
    this.counts.served++
    const expected = JSON.stringify({ canary, user, audience: AUDIENCES[route], body })
    this.#options.faults.unless(answered.text, expected, `the answer to ${canary}`)
  }

  async #presentWrong(chosen: Random, number: number, user: string, route: string): Promise<void> {
    const wrong = WRONG_TOKENS[chosen.below(WRONG_TOKENS.length)]!
    const { status, text } = await this.#options.ask(`/${route}/${number}`, {
      token: await this.#wrongToken(wrong, chosen, user),
      headers: { 'x-canary': `nobody ${number}` },
    })
    this.counts.refused++
    const code = text.includes('"code":"invalid_token"') ? 'invalid_token' : text
    this.#options.faults.unless(`${status} ${code}`, '401 invalid_token', `a token ${wrong}`)
  }

  async #wrongToken(
    wrong: (typeof WRONG_TOKENS)[number],
    chosen: Random,
    user: string,
  ): Promise<string> {
    const { issuer } = this.#options
    if (wrong === 'for another API') return issuer.token({ sub: user, aud: AUDIENCES['orders']! })
    if (wrong === 'expired') {
      const exp = Math.floor(Date.now() / 1_000) - 1
      return issuer.token({ sub: user, iat: exp - 60, exp })
    }
    const { token } = await this.#subject(user, chosen)
    if (wrong === 'spelled otherwise') return otherSpelling(token)
    const { token: other } = await this.#subject(`${user}-with-a-token-of-its-own`, chosen)
    return token.slice(0, token.lastIndexOf('.')) + other.slice(other.lastIndexOf('.'))
  }

  /** The user's token; another one where that has expired. */
  async #subject(user: string, chosen: Random): Promise<Subject> {
    const known = await this.#subjects.get(user)
    if (known !== undefined && Date.now() < known.expiresAt) return known
    const exp = Math.floor(Date.now() / 1_000) + SUBJECT_SECONDS[chosen.below(2)]!
    const signed = this.#options.issuer.token({ sub: user, exp, jti: `${user} ${exp}` })
    const made = signed.then((token) => ({ token, expiresAt: exp * 1_000 }))
    this.#subjects.set(user, made)
    return made
  }
}

/** The same bytes to a lenient decoder: the last character of 256 bytes in base64url carries four bits that say nothing. */
function otherSpelling(token: string): string {
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return token.slice(0, -1) + last[last.indexOf(token.at(-1)!) + 1]!
}

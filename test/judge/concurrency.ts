import { claimsOf, startGateway, startUpstream, type Scope, type Upstream } from '../system.ts'
import { openCallers, type Ask } from './callers.ts'
import { Faults, scoped, type Finding, type Load } from './load.ts'
import {
  cacheOutcomes,
  startOidcProvider,
  startTenant,
  throughIssuer,
  type Issuing,
} from './setting.ts'

export interface ConcurrencySize {
  /** How many requests come at once. */
  readonly callers: number
  /** By how many users in the second half of a repetition; `callers` is a multiple of it. */
  readonly users: number
  /** Each with users that nobody has seen before. */
  readonly repetitions: number
}

export const concurrency: Load = {
  name: 'concurrency',
  claim:
    '500 first requests at once make 1 exchange for 1 user and 50 for 50, and each meets its own',
  limitMs: 10 * 60_000,
  judge: () => judgeConcurrency({ callers: 500, users: 50, repetitions: 20 }),
}

export async function judgeConcurrency(size: ConcurrencySize): Promise<Finding> {
  const faults = new Faults()
  const counts: Record<string, number | string> = {}
  for (const start of [startTenant, startOidcProvider]) {
    await scoped(async (scope) => {
      const issuing = await start(scope)
      counts[issuing.name] = await judgeIssuer(scope, issuing, size, faults)
    })
  }
  return { counts, faults: faults.told }
}

async function judgeIssuer(
  scope: Scope,
  issuing: Issuing,
  { callers, users, repetitions }: ConcurrencySize,
  faults: Faults,
): Promise<string> {
  const upstream = await startUpstream(scope)
  const gateway = await startGateway(scope, throughIssuer(issuing, upstream.origin))
  const ask = await openCallers(scope, gateway.origin, callers)
  let requests = 0
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const count of [1, users]) {
      const names = Array.from({ length: count }, (_, n) => `user-${repetition}-${count}-${n}`)
      const crowd = { issuing, upstream, ask, names, each: callers / count }
      requests += callers
      await judgeCrowd(crowd, `${issuing.name}, repetition ${repetition}, ${count} users`, faults)
    }
  }
  const { joined = 0 } = cacheOutcomes(gateway)
  // Who comes after the exchange proves nothing about those who come during it.
  if (joined === 0) faults.add(`${issuing.name}: nobody came while an exchange was under way`)
  return `${requests} requests, ${issuing.exchanges()} exchanges, ${joined} joined`
}

interface Crowd {
  readonly issuing: Issuing
  readonly upstream: Upstream
  readonly ask: Ask
  readonly names: readonly string[]
  /** How many requests each of them makes. */
  readonly each: number
}

async function judgeCrowd(crowd: Crowd, what: string, faults: Faults): Promise<void> {
  const { issuing, upstream, ask, names, each } = crowd
  const tokens = await Promise.all(names.map((name) => issuing.newToken(name)))
  const before = issuing.exchanges()
  upstream.received.length = 0

  await Promise.all(
    Array.from({ length: each }, () =>
      names.map(async (name, index) => {
        const { status, text } = await ask(`/orders/${name}`, { token: tokens[index]! })
        const { sub, aud } = status === 200 ? (JSON.parse(text) as Claims) : {}
        faults.unless(status, 200, `${what}: ${name} was answered`)
        faults.unless(sub, issuing.subjectOf(name), `${what}: ${name} was answered as`)
        faults.unless(aud, 'https://orders.internal', `${what}: the audience of ${name}`)
      }),
    ).flat(),
  )

  faults.unless(issuing.exchanges() - before, names.length, `${what}: exchanges`)
  faults.unless(upstream.received.length, names.length * each, `${what}: requests at the upstream`)
  for (const { url, headers } of upstream.received) {
    const expected = issuing.subjectOf(url.slice('/orders/'.length))
    faults.unless(claimsOf(headers.authorization)['sub'], expected, `${what}: the token of ${url}`)
  }
}

interface Claims {
  readonly sub?: string
  readonly aud?: string
}

import { hash } from 'node:crypto'
import type { Authenticate, SubjectToken } from '../authenticate/authenticate.ts'
import type { Route } from '../config/config.ts'
import type { RateConfig } from '../config/limits.ts'
import { GatewayError } from '../errors.ts'
import { createRates, type Rate, type Rates } from '../store/rates.ts'
import type { Shed } from './shed.ts'

export interface RateLimitsOptions {
  readonly routes: readonly Route[]
  /** How many processes share the rates. */
  readonly processes: number
  /** What callers took before a reload. Default: nothing. */
  readonly rates?: () => Rates
  readonly shed: Shed
}

/** How many callers are counted at once; they take about 20 MB. */
const MAX_KEYS = 100_000

export function createCallerRates(): Rates {
  return createRates(MAX_KEYS)
}

type Authenticated = Pick<SubjectToken, 'issuer' | 'subject' | 'client'>

/**
 * Counts the requests of a route: by address before the token is looked at, by subject and client after it is verified.
 * Addresses and subjects are kept as hashes. Each process counts by itself, up to its share of the rate.
 *
 * No library for rate limits is used, on purpose: those that are maintained answer by a promise, and keep a timer for each
 * key and as many keys as callers make up. Here lru-cache bounds the keys, and nothing is asynchronous.
 */
export function rateLimited(authenticate: Authenticate, options: RateLimitsOptions): Authenticate {
  const { routes, processes, shed, rates: ratesOf = createCallerRates } = options
  if (routes.every(({ proxy }) => proxy.limits.rates.length === 0)) return authenticate
  const rates = ratesOf()

  function take(by: RateConfig['by'], route: Route, ...key: readonly string[]): void {
    const rate = route.proxy.limits.rates.find((one) => one.by === by)
    if (rate === undefined) return
    const name = hash('sha256', JSON.stringify([route.name, by, ...key]), 'base64url')
    const wait = rates.take(name, shareOf(rate, processes))
    if (wait === 0) return
    shed(`rate_${by}`)
    throw new GatewayError('rate_limited', `too many requests of this ${by}`, {
      retryAfter: Math.ceil(wait / 1_000),
    })
  }

  // The subject comes first: a refused request does not count for the other subjects of its client.
  function counted<Subject extends Authenticated>(subject: Subject, route: Route): Subject {
    take('subject', route, subject.issuer, subject.subject)
    // All tokens without a client count as one.
    take('client', route, subject.issuer, subject.client ?? '')
    return subject
  }

  return (presented, route) => {
    if (route.proxy.limits.rates.length === 0) return authenticate(presented, route)
    // All callers without a known address count as one.
    take('address', route, presented.address?.() ?? '')
    const subject = authenticate(presented, route)
    return subject instanceof Promise
      ? subject.then((known) => counted(known, route))
      : counted(subject, route)
  }
}

function shareOf({ rate, burst }: RateConfig, processes: number): Rate {
  return { perSecond: rate / processes, burst: Math.max(1, Math.ceil(burst / processes)) }
}

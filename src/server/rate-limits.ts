import { hash } from 'node:crypto'
import type { Authenticate, SubjectToken } from '../authenticate/authenticate.ts'
import type { Route } from '../config/config.ts'
import type { RateConfig } from '../config/limits.ts'
import { GatewayError } from '../errors.ts'
import { createRates, type Rate, type Rates } from '../store/rates.ts'
import type { Shed } from './shed.ts'

export interface RateLimitsOptions {
  readonly routes: readonly Route[]
  /** How many share the rates. */
  readonly processes: number
  /** What callers took so far. Default: nothing. */
  readonly rates?: () => Rates
  readonly shed: Shed
}

/** How many callers are told apart at once; they take about 20 MB. */
const MAX_KEYS = 100_000

export function createCallerRates(): Rates {
  return createRates(MAX_KEYS)
}

type Authenticated = Pick<SubjectToken, 'issuer' | 'subject' | 'client'>

/**
 * Counts what callers ask of a route: by address before their tokens are looked at, by subject and client when those are
 * known to be good. Addresses and subjects are kept as hashes. It counts in this process alone, its share of the rate.
 *
 * Without a library for rates, on purpose: those that are well kept answer by a promise, keep a timer for each key, and as
 * many keys as callers make up. Here lru-cache bounds them, and there is nothing to wait for.
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

  // Who is refused as a subject costs the others of its client nothing.
  function counted<Subject extends Authenticated>(subject: Subject, route: Route): Subject {
    take('subject', route, subject.issuer, subject.subject)
    // Those that name no client are one.
    take('client', route, subject.issuer, subject.client ?? '')
    return subject
  }

  return (presented, route) => {
    if (route.proxy.limits.rates.length === 0) return authenticate(presented, route)
    // Who cannot be told from others is limited with all of them.
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

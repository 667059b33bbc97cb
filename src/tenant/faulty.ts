import { setTimeout as sleep } from 'node:timers/promises'
import type { Response } from 'express'
import { decodeJwt, decodeProtectedHeader, SignJWT, type JWTPayload } from 'jose'
import type { TokenAnswer } from './answer.ts'
import type { Fault } from './faults.ts'
import type { Keys } from './keys.ts'
import { rateLimitHeaders, USUAL_LIMIT } from './limiter.ts'
import { Refusal } from './refusal.ts'
import type { State } from './state.ts'

/** The effect of a fault at each step of a request. */
export interface Faulty {
  /** Called before the request is handled. @throws {Refusal} `too_many_requests`, `server_error` */
  refuse(fault: Fault | undefined, response: Response): void
  /** The request's proof (RFC 9449), or none if the fault ignores it. @throws {Refusal} `use_dpop_nonce` */
  overlook(fault: Fault | undefined, proof: string | undefined): string | undefined
  /** The answer, or one with another token. */
  forge(fault: Fault | undefined, answer: TokenAnswer): Promise<TokenAnswer>
  /** Called when the answer is ready; resolves early if the caller has gone. */
  hold(fault: Fault | undefined, response: Response): Promise<void>
  send(fault: Fault | undefined, response: Response, answer: TokenAnswer): void
}

export interface FaultyOptions {
  readonly state: State
  readonly keys: Keys
  /** In epoch milliseconds. */
  readonly now: () => number
}

/** A value of a thumbprint's length, of a key that nobody has. */
const SOMEBODY_ELSES = 'A'.repeat(43)

const PAGE = '<!doctype html><title>502 Bad Gateway</title>\n<h1>502 Bad Gateway</h1>\n'

export function createFaulty({ state, keys, now }: FaultyOptions): Faulty {
  /** Signs changed claims with the key of the API that the token was for, as the tenant itself does. */
  async function forged(answer: TokenAnswer, changes: JWTPayload): Promise<TokenAnswer> {
    const token = answer.access_token
    if (token.split('.').length === 5)
      throw new Refusal('server_error', 'An encrypted token cannot be forged')
    const claims = decodeJwt(token)
    const server = state.resourceServer(String(claims.aud))
    if (server === undefined) throw new TypeError(`there is no API ${String(claims.aud)} any more`)
    const { kid: _, ...header } = decodeProtectedHeader(token)
    const { key, keyId } = keys.signingKey(server)
    const forgery = await new SignJWT({ ...claims, ...changes })
      .setProtectedHeader({
        ...header,
        alg: server.signing_alg,
        ...(keyId === undefined ? {} : { kid: keyId }),
      })
      .sign(key)
    return { ...answer, access_token: forgery }
  }

  return {
    refuse(fault, response) {
      if (fault?.kind === 'too_many_requests') {
        const { resetAfterSeconds = 1, retryAfterSeconds } = fault
        const limit = Number(response.get('x-ratelimit-limit') ?? USUAL_LIMIT.burst)
        response.set(rateLimitHeaders(limit, 0, now() + resetAfterSeconds * 1_000))
        if (retryAfterSeconds !== undefined) response.set('retry-after', String(retryAfterSeconds))
        throw new Refusal('too_many_requests', 'Global limit has been reached')
      }
      if (fault?.kind === 'server_error') {
        throw new Refusal('server_error', 'The tenant was told to fail', fault.status)
      }
    },
    overlook(fault, proof) {
      if (fault?.kind === 'use_dpop_nonce') {
        throw new Refusal('use_dpop_nonce', 'The tenant was told to want another nonce')
      }
      return fault?.kind === 'unbound' ? undefined : proof
    },
    async forge(fault, answer) {
      if (fault?.kind === 'wrong_cnf') {
        return forged(answer, { cnf: { jkt: fault.jkt ?? SOMEBODY_ELSES } })
      }
      if (fault?.kind === 'wrong_sub') {
        return forged(answer, { sub: fault.subject ?? 'auth0|somebody-else' })
      }
      if (fault?.kind === 'wrong_aud') {
        return forged(answer, { aud: fault.audience ?? 'https://elsewhere.example' })
      }
      if (fault?.kind === 'wrong_scope') {
        const { scope: granted } = decodeJwt(answer.access_token)
        const scope = [granted, fault.scope ?? 'admin:everything'].filter(Boolean).join(' ')
        return { ...(await forged(answer, { scope })), scope }
      }
      return answer
    },
    async hold(fault, response) {
      if (fault?.kind !== 'slow') return
      const gone = new AbortController()
      response.once('close', () => gone.abort())
      if (response.closed) return
      await sleep(fault.delayMs, undefined, { signal: gone.signal }).catch(() => undefined)
    },
    send(fault, response, answer) {
      if (fault?.kind === 'garbage') response.type('html').send(fault.body ?? PAGE)
      else response.json(answer)
    },
  }
}

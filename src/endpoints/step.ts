import type { ServerResponse } from 'node:http'
import type { SubjectToken } from '../authenticate/authenticate.ts'
import type { Route } from '../config/config.ts'
import { NO_CREDENTIALS } from '../exchange/grants/none.ts'
import type { IssuedToken } from '../exchange/issued.ts'
import {
  createGateway,
  type Door,
  type GatewayOptions,
  type Journey,
  type MountedRequest,
  type Stages,
} from '../gateway.ts'
import { canonicalTarget } from '../route/target.ts'
import { answering, unusable } from './handed.ts'

/** An Express middleware that stands before a handler: it calls `next`, or answers with a refusal. */
export type Step = (
  request: SteppedRequest,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void

export type SteppedRequest = MountedRequest & { behalf?: Behalf }

declare global {
  // Express declares this interface for middleware to extend.
  namespace Express {
    interface Request {
      /** Set by `authenticate` and `onBehalfOf`. */
      behalf?: Behalf
    }
  }
}

export type StepOptions = Omit<GatewayOptions, 'door'>

/**
 * The door for an application's own handlers, which want to know whose request it is, or want a token to call other services
 * with. The request takes the same path as at the reverse proxy, for the route that is given: Express has matched it. It
 * counts as a request of the route until the handler has answered.
 *
 * @param step the last step: `authenticate` stops after the route's conditions, `exchange` after the issued token
 * @throws {TypeError} where the handler could not use the route's token: it is bound to a certificate, or comes with a
 *   refresh token that the caller must get; or the route has none
 */
export function createStep(
  { authenticate, exchange }: Pick<Stages, 'authenticate' | 'exchange'>,
  { route, step }: { readonly route: Route; readonly step: 'authenticate' | 'exchange' },
  options: StepOptions,
): Step {
  const exchanges = step === 'exchange'
  const fault = exchanges ? unusable(route) : undefined
  if (fault !== undefined)
    throw new TypeError(`the route ${route.name} cannot be used here: ${fault}`)
  const following = new WeakMap<SteppedRequest, () => void>()
  const door: Door = (request) => {
    const { method = '', headers, originalUrl, url = '' } = request
    // A proof names the target that the caller sees. Nothing is matched or forwarded by it.
    const target = canonicalTarget(originalUrl ?? url, headers)
    return { method, host: headers.host, target, inner: target }
  }
  const gateway = createGateway(
    {
      match: () => route,
      authenticate,
      exchange: exchanges ? exchange : () => NO_CREDENTIALS,
      proxy(passage, _route, token) {
        const { request, response, subject, id } = passage as Journey
        const stepped: SteppedRequest = request
        const tokens = new Map(stepped.behalf?.tokens)
        if (exchanges) tokens.set(route.name, new HandedToken(token))
        stepped.behalf = new Behalf(subject!, tokens, id)
        return answering(response, following.get(request)!)
      },
    },
    { ...options, door },
  )
  return (request, response, next) => {
    following.set(request, next)
    void gateway(request, response)
  }
}

/** Whose request it is. Everything is a copy: a handler that changes it changes nothing for other requests. */
export class Behalf {
  /** The `request_id` of the log, and the `X-Request-Id` of the gateway's answers. */
  readonly requestId: string
  /** The name of the API that the subject token is for. */
  readonly api: string
  /** `iss` and `sub` of the subject token. */
  readonly issuer: string
  readonly subject: string
  readonly scopes: ReadonlySet<string>
  readonly permissions: ReadonlySet<string>
  /** When the subject token ends, in epoch milliseconds. */
  readonly expiresAt: number
  readonly #subject: SubjectToken
  /** The issued tokens, by the names of their routes: one for each `onBehalfOf` so far. */
  readonly tokens: ReadonlyMap<string, HandedToken>
  #claims: Readonly<Record<string, unknown>> | undefined

  constructor(subject: SubjectToken, tokens: ReadonlyMap<string, HandedToken>, requestId: string) {
    this.#subject = subject
    this.tokens = tokens
    this.requestId = requestId
    this.api = subject.api.name
    this.issuer = subject.issuer
    this.subject = subject.subject
    this.scopes = new Set(subject.scopes)
    this.permissions = new Set(subject.permissions)
    this.expiresAt = subject.expiresAt
  }

  /** All claims of the subject token. */
  get claims(): Readonly<Record<string, unknown>> {
    return (this.#claims ??= structuredClone(this.#subject.claims))
  }

  /**
   * The issued token, where there is exactly one.
   *
   * @throws {TypeError} where no `onBehalfOf` stands before the handler, or several do: `tokens` has them by name
   */
  get token(): HandedToken {
    const [token, ...others] = this.tokens.values()
    if (token === undefined) throw new TypeError('no onBehalfOf stands before this handler')
    if (others.length > 0) throw new TypeError('several onBehalfOf stand before this handler')
    return token
  }
}

/** An issued token for a handler to use. Printed, it shows neither the token nor a proof. */
export class HandedToken {
  readonly scheme: 'Bearer' | 'DPoP'
  /** When it ends, in epoch milliseconds. */
  readonly expiresAt: number
  /** The granted ones of the scopes that the route asks for. */
  readonly scopes: readonly string[]
  readonly #token: IssuedToken

  constructor(token: IssuedToken) {
    this.#token = token
    this.scheme = token.scheme === 'DPoP' ? 'DPoP' : 'Bearer'
    this.expiresAt = token.expiresAt
    this.scopes = [...token.scopes]
  }

  get value(): string {
    return this.#token.value
  }

  /**
   * The headers for one request: `authorization`, and `dpop` where the token is bound to a key (RFC 9449, section 7.1).
   *
   * @param nonce the server's `DPoP-Nonce`, if it sent one
   */
  headersFor(
    method: string,
    url: string | URL,
    nonce?: string,
  ): { authorization: string; dpop?: string } {
    const authorization = `${this.scheme} ${this.value}`
    const { prove } = this.#token
    if (prove === undefined) return { authorization }
    return { authorization, dpop: prove(method, String(url), nonce) }
  }
}

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
  // What Express offers for this: an interface of its own that middlewares add to.
  namespace Express {
    interface Request {
      /** Set by `authenticate` and `onBehalfOf`. */
      behalf?: Behalf
    }
  }
}

export type StepOptions = Omit<GatewayOptions, 'door'>

/**
 * The door for handlers of one's own, which want to know whose request it is, or a token to call others with. It is the
 * same path as the proxy's, for the route that is given: Express has matched the request. It ends when the handler's answer
 * does, and counts as a request of the route until then.
 *
 * @param step how far it goes: `authenticate` ends with the route's conditions, `exchange` with the issued token
 * @throws {TypeError} where the handler could not use the route's token: one that is bound to a certificate, or comes with
 *   a refresh token to tell back; or there is none
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
    // Proofs are for what the caller sees; nothing is matched or forwarded by it.
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

/** Whose request it is. Everything is a copy: what a handler does to it changes nothing for others. */
export class Behalf {
  /** What the log and the metrics know the request by. */
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
  /** By the names of their routes: one for each `onBehalfOf` so far. */
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
   * What the subject token was exchanged for, where that is one token.
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

/** An issued token in the hands of a handler. Printed, it shows neither the token nor a proof. */
export class HandedToken {
  readonly scheme: 'Bearer' | 'DPoP'
  /** When it ends, in epoch milliseconds. */
  readonly expiresAt: number
  /** What was granted of the scopes that the route asks for. */
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
   * What one request goes on with: `authorization`, and `dpop` where the token is bound to a key (RFC 9449, section 7.1).
   *
   * @param nonce what the server asked for by `DPoP-Nonce`, if it did
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

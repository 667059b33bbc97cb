import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose'
import type { Keys } from '../keys.ts'
import type { State } from '../state.ts'
import { Failure } from './failure.ts'

/**
 * Verifies the token of a request, and returns its scopes.
 *
 * @param authorization the request's header
 * @throws {Failure} 401
 */
export type Permission = (authorization: string | undefined) => Promise<ReadonlySet<string>>

export interface PermissionOptions {
  readonly state: State
  readonly issuer: string
  readonly keys: Keys
  /** In epoch milliseconds. */
  readonly now: () => number
}

/** Accepts access tokens of this tenant for its Management API, as bearer tokens (RFC 6750, section 2.1). */
export function createPermission({ state, issuer, keys, now }: PermissionOptions): Permission {
  async function verify(token: string): Promise<JWTPayload> {
    const server = state.system?.server
    const key = server && keys.verificationKey(server, decodeProtectedHeader(token).kid)
    if (server === undefined || key === undefined) return refuse('Invalid signature')
    const { payload } = await jwtVerify(token, key, {
      issuer,
      audience: server.identifier,
      algorithms: [server.signing_alg],
      requiredClaims: ['exp'],
      currentDate: new Date(now()),
    })
    return payload
  }

  return async (authorization) => {
    if (authorization === undefined) throw new Failure(401, 'missing', 'Missing authentication')
    const [, token] = /^bearer +(\S+)$/i.exec(authorization) ?? []
    if (token === undefined) return refuse('Bad HTTP authentication header format')
    const { scope } = await verify(token).catch(reject)
    return new Set(typeof scope === 'string' ? scope.split(' ') : [])
  }
}

/** @throws {Failure} 403, unless the token has one of them */
export function assertScope(scopes: ReadonlySet<string>, expected: readonly string[]): void {
  if (expected.some((scope) => scopes.has(scope))) return
  const names = expected.join(',')
  throw new Failure(403, 'insufficient_scope', `Insufficient scope, expected any of: ${names}`)
}

function reject(cause: unknown): never {
  if (cause instanceof Failure) throw cause
  if (cause instanceof errors.JWTExpired) {
    refuse('Expired token received for JSON Web Token validation')
  }
  refuse('Invalid token')
}

function refuse(message: string): never {
  throw new Failure(401, 'invalid_token', message)
}

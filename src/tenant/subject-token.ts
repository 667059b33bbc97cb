import { errors, decodeJwt, decodeProtectedHeader, jwtVerify, type JWTPayload } from 'jose'
import type { Actor } from './issue.ts'
import type { Keys } from './keys.ts'
import { Refusal } from './refusal.ts'
import type { ResourceServer } from './resource-server.ts'
import type { State } from './state.ts'

/** An access token of this tenant's, verified. */
export interface SubjectToken {
  readonly subject: string
  readonly audiences: readonly string[]
  /** Who it was issued to. */
  readonly clientId: string | undefined
  readonly actor: Actor | undefined
  /** Whether a client obtained it for itself. */
  readonly isOfClient: boolean
}

/**
 * Verifies signature, `iss` and `exp`, with the key of the API that the token is for: the tenant's own, or that API's
 * secret. Does NOT check whether the token is for the right API.
 *
 * @param preferred the API whose key is used if the token is for several
 * @throws {Refusal} `invalid_grant` with status 401
 */
export type VerifySubject = (token: string, preferred: string) => Promise<SubjectToken>

export interface SubjectVerifierOptions {
  readonly state: State
  readonly issuer: string
  readonly keys: Keys
  /** In epoch milliseconds. */
  readonly now: () => number
}

export function createSubjectVerifier(options: SubjectVerifierOptions): VerifySubject {
  const { state, issuer, keys, now } = options

  async function verify(token: string, preferred: string): Promise<JWTPayload> {
    const server = serverOf(state, audiencesOf(decodeJwt(token)), preferred)
    const key = server === undefined ? undefined : keys.verificationKey(server, keyIdOf(token))
    if (server === undefined || key === undefined) invalid()
    const { payload } = await jwtVerify(token, key, {
      issuer,
      // The API's algorithm, never the header's: an API's secret must not verify a token that a key pair should have signed.
      algorithms: [server.signing_alg],
      requiredClaims: ['sub', 'exp'],
      currentDate: new Date(now()),
    })
    return payload
  }

  return async (token, preferred) => {
    const claims = await verify(token, preferred).catch(reject)
    const { sub: subject = '', azp, client_id: clientId = azp, gty } = claims
    return {
      subject,
      audiences: audiencesOf(claims),
      clientId: typeof clientId === 'string' ? clientId : undefined,
      actor: actorOf(claims),
      // The dialect of RFC 9068 has no `gty`, but the subject shows a client's own token.
      isOfClient: gty === 'client-credentials' || subject.endsWith('@clients'),
    }
  }
}

function keyIdOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).kid
  } catch {
    return invalid()
  }
}

/** Checked, because anyone who knows an API's signing secret can sign any `act`. */
function actorOf({ act }: JWTPayload): Actor | undefined {
  return typeof act === 'object' && act !== null ? (act as Actor) : undefined
}

function audiencesOf({ aud = [] }: JWTPayload): readonly string[] {
  return [aud].flat()
}

function serverOf(
  { resourceServers }: State,
  audiences: readonly string[],
  preferred: string,
): ResourceServer | undefined {
  const known = audiences.includes(preferred)
    ? preferred
    : audiences.find((audience) => resourceServers.has(audience))
  return known === undefined ? undefined : resourceServers.get(known)
}

function reject(cause: unknown): never {
  if (cause instanceof errors.JWTExpired) invalid('Expired subject_token')
  if (cause instanceof errors.JOSEError) invalid()
  throw cause
}

/** Auth0 documents the status, but not the error; 401 distinguishes it from a refusal of the grant. */
function invalid(description = 'Invalid subject_token'): never {
  throw new Refusal('invalid_grant', description, 401)
}

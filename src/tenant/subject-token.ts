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
  /** Whether a client got it for itself. */
  readonly isOfClient: boolean
}

/**
 * Verifies signature, `iss` and `exp`, by the key of the API that the token is for: the tenant's own, or that API's
 * secret. Does NOT say whether the token is for the right API.
 *
 * @param preferred the API whose key counts where the token is for several
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
      // The API's, never the header's: its secret must not verify what a key pair should have signed.
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
      // The dialect of RFC 9068 does not say how a token was got, but its subject does.
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

/** Whoever knows an API's signing secret can write anything. */
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

/** Auth0 documents the status, though not the error; 401 tells it from a refusal of the grant. */
function invalid(description = 'Invalid subject_token'): never {
  throw new Refusal('invalid_grant', description, 401)
}

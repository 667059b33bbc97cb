import type { Api } from '../config/config.ts'
import { staticClaims, type StaticClaims } from './claims.ts'
import { rejectToken, unverifiedClaims, unverifiedHeader } from './jwt.ts'
import type { Keys } from './keys.ts'
import { createKeySignature, createSecretSignature, type Signature } from './signature.ts'

/** Verifies the tokens of one API: their signature and their static claims. */
export interface Verifier {
  /**
   * @param token in a form that the verifier takes: canonical compact form, unless it is opaque
   * @throws {GatewayError} `invalid_token`, `keys_unavailable`; for an opaque token what {@link Introspect} throws
   */
  verify(token: string): Promise<Verified>
  /** The epoch of the keys that tokens of this issuer are verified with now. */
  epoch(issuer: string): string
}

export interface Verified extends StaticClaims {
  /** The token as its issuer knows it: decrypted, where it came encrypted. */
  readonly value: string
  /** The epoch of the keys that verified the token. */
  readonly epoch: string
  readonly issuer: string
}

/** @param keysOf the keys of an issuer, by its identifier; not called for an API with a signing secret */
export function createVerifier(api: Api, keysOf: (identifier: string) => Keys): Verifier {
  const signatures = signaturesOf(api, keysOf)
  return {
    async verify(token) {
      const header = unverifiedHeader(token)
      const claims = unverifiedClaims(token)
      assertAccessToken(header, api)
      const { issuer, signature } = issuedBy(claims, signatures)
      const epoch = await signature.verify(token, header)
      return { value: token, epoch, issuer, ...staticClaims(claims, api) }
    },
    epoch: (issuer) => signatures.get(issuer)?.epoch() ?? '',
  }
}

/** Keyed by the issuer's identifier. RFC 8725, section 3.1: the configuration decides what verifies a token. */
function signaturesOf(
  { issuer, verification }: Api,
  keysOf: (identifier: string) => Keys,
): ReadonlyMap<unknown, Signature> {
  if (verification.kind === 'secret') {
    const signature = createSecretSignature(verification.secrets, ['HS256'])
    return new Map(issuer.identifiers.map((identifier) => [identifier, signature]))
  }
  const { algorithms } = verification
  return new Map(
    issuer.identifiers.map((identifier) => [
      identifier,
      createKeySignature(keysOf(identifier), algorithms),
    ]),
  )
}

type Members = Readonly<Record<string, unknown>>

/** RFC 9068, section 2.1. Most issuers still write `JWT` for their access tokens. */
export const ACCESS_TOKEN_TYPES = /^(?:application\/)?(?:at\+)?jwt$/i
/** RFC 9068, section 4: a token with any other `typ` is not one of that profile. */
const RFC9068_TYPE = /^(?:application\/)?at\+jwt$/i

/** Refuses other kinds of tokens by the header, before any other work on them. */
function assertAccessToken({ typ }: Members, api: Api): void {
  if (api.typ !== undefined && !(typeof typ === 'string' && RFC9068_TYPE.test(typ))) {
    rejectToken('the "typ" header must be at+jwt')
  }
  if (typ !== undefined && (typeof typ !== 'string' || !ACCESS_TOKEN_TYPES.test(typ))) {
    rejectToken('the "typ" header names another kind of token')
  }
}

interface Issued {
  readonly issuer: string
  readonly signature: Signature
}

/** RFC 8725, section 3.8: the keys are those of the issuer that `iss` names, compared exactly. */
function issuedBy({ iss }: Members, by: ReadonlyMap<unknown, Signature>): Issued {
  const signature = by.get(iss)
  if (typeof iss !== 'string' || signature === undefined) {
    rejectToken('the "iss" claim is not an issuer of this API')
  }
  return { issuer: iss, signature }
}

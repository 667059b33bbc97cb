import type { Api } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { Presented } from './bearer.ts'
import type { CheckProof } from './dpop.ts'
import { rejectToken } from './jwt.ts'

/** What a token is bound to (RFC 7800, `cnf`). At least one member is defined, and the caller must prove each that is. */
export interface Confirmation {
  /** The thumbprint (RFC 7638) of the key that the proof must be signed with (RFC 9449, section 6.1). */
  readonly key: string | undefined
  /** The SHA-256 of the certificate that the caller must show (RFC 8705, section 3.1). */
  readonly certificate: string | undefined
}

/** A SHA-256 in base64url. */
const THUMBPRINT = /^[\w-]{42}[AEIMQUYcgkosw048]$/

/**
 * Reads what a token is bound to; undefined where it is not bound. A token with a `cnf` member that the gateway cannot check
 * is refused, because its holder cannot prove possession here.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function confirmationOf({
  cnf,
}: Readonly<Record<string, unknown>>): Confirmation | undefined {
  if (cnf === undefined) return undefined
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) {
    rejectToken('the "cnf" claim is not an object')
  }
  const { jkt, 'x5t#S256': certificate, ...others } = cnf as Readonly<Record<string, unknown>>
  if (Object.keys(others).length > 0 || (jkt === undefined && certificate === undefined)) {
    rejectToken('the access token is bound to something that cannot be proven here')
  }
  return { key: thumbprint(jkt, 'jkt'), certificate: thumbprint(certificate, 'x5t#S256') }
}

function thumbprint(value: unknown, member: string): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || !THUMBPRINT.test(value)) {
    rejectToken(`the "cnf" claim has no thumbprint in "${member}"`)
  }
  return value
}

const NOTHING: Confirmation = { key: undefined, certificate: undefined }

/** The parts of a verified token that possession is judged by. */
interface Verified {
  readonly api: Api
  readonly confirmation: Confirmation | undefined
  readonly client: string | undefined
  /** SHA-256 of the token, base64url. */
  readonly digest: string
  /** The token as presented, where it came encrypted: the proof's `ath` is of that (RFC 9449, section 4.2). */
  readonly encrypted?: { readonly digest: string } | undefined
}

/**
 * Refuses the scheme `DPoP`, as any unknown scheme, where none of the APIs takes proofs. Checked before any other work on
 * the token.
 *
 * @throws {GatewayError} `missing_token`
 */
export function assertScheme(scheme: Presented['scheme'], apis: readonly Api[]): void {
  if (scheme === 'Bearer') return
  if (apis.some(({ proofOfPossession }) => proofOfPossession?.mechanism === 'dpop')) return
  throw new GatewayError('missing_token', 'the authentication scheme must be Bearer')
}

/**
 * Decides whether a caller possesses the key or certificate that its token is bound to. Nothing else does. Called on every
 * request, also where the token is remembered. A bound token needs its proof even at an API that asks for none, because it
 * may be stolen (RFC 9449, section 7.2; RFC 8705, section 3).
 *
 * @param checks one for each API that takes proofs
 * @returns the token: at once, unless a proof has to be verified
 * @throws {GatewayError} `invalid_token`, and what {@link CheckProof} throws
 */
export function createPossession(checks: ReadonlyMap<Api, CheckProof>) {
  return <Token extends Verified>(token: Token, presented: Presented): Token | Promise<Token> => {
    const { confirmation, api } = token
    const isBearer = presented.scheme === 'Bearer'
    if (confirmation === undefined && api.proofOfPossession === undefined && isBearer) return token
    assertBoundAsAsked(token)
    const { key, certificate } = confirmation ?? NOTHING
    if (certificate !== undefined && presented.certificate() !== certificate) {
      rejectToken('the access token is bound to a certificate that the caller did not show')
    }
    if (key === undefined) {
      if (isBearer) return token
      rejectToken('the access token is bound to no key: its scheme is Bearer')
    }
    if (isBearer) {
      rejectToken('the access token is bound to a key: it needs the scheme DPoP and a proof')
    }
    const check = checks.get(api)
    if (check === undefined) rejectToken('the API of the access token takes no proofs')
    const { proof, method, origins, target, request } = presented
    return check({
      request,
      proof,
      method,
      origins,
      target,
      key,
      tokenDigest: (token.encrypted ?? token).digest,
    }).then(() => token)
  }
}

function assertBoundAsAsked({ api: { proofOfPossession }, confirmation, client }: Verified): void {
  if (proofOfPossession === undefined || !proofOfPossession.required) return
  const { mechanism, exempt } = proofOfPossession
  if (mechanism === 'dpop' ? confirmation?.key : confirmation?.certificate) return
  if (client !== undefined && exempt.has(client)) return
  rejectToken(
    mechanism === 'dpop'
      ? 'the API takes only tokens that are bound to a key (DPoP)'
      : 'the API takes only tokens that are bound to a certificate',
  )
}

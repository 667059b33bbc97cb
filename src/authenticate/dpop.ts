import { createPublicKey, hash, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { Api } from '../config/config.ts'
import type { DpopConfig } from '../config/possession.ts'
import { GatewayError } from '../errors.ts'
import type { Store } from '../store/memory.ts'
import type { ReplayStore } from '../store/replay.ts'
import type { Presented } from './bearer.ts'
import { isSigned } from './jws.ts'
import { assertCanonical, rejectToken, unverifiedClaims, unverifiedHeader } from './jwt.ts'
import { createNonces } from './nonces.ts'
import { rsaWeakness } from './rsa.ts'

/** A proof, and what it has to match. */
export interface Proven extends Pick<
  Presented,
  'proof' | 'method' | 'origins' | 'target' | 'request'
> {
  /** The thumbprint of the key that the access token is bound to. */
  readonly key: string
  /** SHA-256 of the access token, base64url. */
  readonly tokenDigest: string
}

/**
 * Makes the checks of RFC 9449, section 4.3, which the comments number as there. Remembers only that a proof was used, and
 * its key, which is parsed once.
 *
 * @throws {GatewayError} `invalid_dpop_proof`; `use_dpop_nonce`; `invalid_token` where the token is bound to another key;
 *   `replay_store_unavailable`
 */
export type CheckProof = (proven: Proven) => Promise<void>

export interface CheckProofOptions {
  readonly api: Api
  readonly dpop: DpopConfig
  readonly replays: ReplayStore
  /** Public keys by their thumbprint. */
  readonly keys: Store<KeyObject>
  /** The secrets of nonces where `dpop` names none. Default: one of this process alone (see `createNonces`). */
  readonly nonceSecrets?: readonly Uint8Array[] | undefined
}

/** The accepted proof of each request, since a request may be authenticated in several steps. */
const taken = new WeakMap<object, string>()

/** In characters: enough for an RSA key of 4096 bits with its signature, and a long URL. */
const LONGEST = 8_192
const LONGEST_JTI = 256
const KEY_KEPT_FOR_MS = 3_600_000

export function createCheckProof(options: CheckProofOptions): CheckProof {
  const { dpop, replays, keys } = options
  const judgeTime = createJudgeTime(options)
  return async (proven) => {
    const { proof, key, tokenDigest } = proven
    if (proof === undefined) rejectProof('the scheme DPoP needs a proof in the DPoP header')
    const { header, claims } = parse(proof)
    const { algorithm, jwk } = assertHeader(header, dpop.algorithms)
    const { jti, ath } = claims
    if (typeof jti !== 'string' || jti === '' || jti.length > LONGEST_JTI) {
      rejectProof(`the "jti" claim must be a string of at most ${LONGEST_JTI} characters`)
    }
    assertRequest(claims, proven)
    // 12. The digest is of the bytes that were presented. Checked before any time is spent on a key that the caller chose.
    if (ath !== tokenDigest) rejectProof('the "ath" claim is not of this access token')
    if (thumbprintOf(jwk) !== key)
      rejectToken('the access token is bound to another key than was proven')
    const until = judgeTime(claims)
    assertSigned(proof, algorithm, publicKey(jwk, key, keys))
    // Section 11.1. Last, so that nobody can mark a proof as used without having a valid one.
    const name = hash('sha256', JSON.stringify([key, jti, claims['htu']]), 'base64url')
    const { request = {} } = proven
    if (taken.get(request) === name) return
    if (!(await replays.isFirst(name, until, key))) rejectProof('the proof was used before')
    taken.set(request, name)
  }
}

type Members = Readonly<Record<string, unknown>>

/** 2. The header holds one well-formed JWT, not a list. */
function parse(proof: string): { readonly header: Members; readonly claims: Members } {
  if (proof.length > LONGEST) rejectProof('the proof is too long')
  try {
    assertCanonical(proof)
    return { header: unverifiedHeader(proof), claims: unverifiedClaims(proof) }
  } catch (cause) {
    rejectProof('the proof is not one signed JWT in canonical compact form', cause)
  }
}

/** Members that only private and symmetric keys have (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/** The members that make up a public key, in the order of its thumbprint (RFC 7638, section 3.2; RFC 8037, section 2). */
const PUBLIC_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
}

/** The members that make up the key and no others, in the order of its thumbprint. */
type PublicJwk = Readonly<Record<string, string>>

/** 4, 5 and 7. The key is public, and the algorithm is a configured one. */
function assertHeader(
  header: Members,
  algorithms: readonly string[],
): { readonly algorithm: string; readonly jwk: PublicJwk } {
  const { typ, alg } = header
  if (typ !== 'dpop+jwt') rejectProof('the "typ" header of the proof must be dpop+jwt')
  if ('crit' in header || 'b64' in header)
    rejectProof('the header of the proof asks for an extension')
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    rejectProof('the "alg" header of the proof names no algorithm that is accepted')
  }
  return { algorithm: alg, jwk: publicJwk(header['jwk']) }
}

function publicJwk(jwk: unknown): PublicJwk {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) {
    rejectProof('the "jwk" header of the proof must be a key')
  }
  const members = jwk as Members
  if (PRIVATE_MEMBERS.some((name) => name in members)) {
    rejectProof('the "jwk" header of the proof holds a private key')
  }
  const { kty } = members
  const names =
    typeof kty === 'string' && Object.hasOwn(PUBLIC_MEMBERS, kty) ? PUBLIC_MEMBERS[kty] : undefined
  if (names === undefined)
    rejectProof('the "jwk" header of the proof is of no kind that is accepted')
  const key: Record<string, string> = {}
  for (const name of names) {
    const value = members[name]
    if (typeof value !== 'string' || !/^[\w-]+$/.test(value)) {
      rejectProof('the "jwk" header of the proof is not a whole key')
    }
    key[name] = value
  }
  return key
}

function thumbprintOf(jwk: PublicJwk): string {
  return hash('sha256', JSON.stringify(jwk), 'base64url')
}

/** 8 and 9. The proof is for this method and address. */
function assertRequest({ htm, htu }: Members, { method, origins, target }: Proven): void {
  if (htm !== method) rejectProof('the "htm" claim of the proof is not the method of the request')
  if (typeof htu !== 'string' || !isOf(htu, origins, target)) {
    rejectProof('the "htu" claim of the proof is not the address of the request')
  }
}

/** RFC 3986, section 2. `URL` accepts other characters, and reads some of them as these. */
const URI = /^https?:\/\/[\w\-.~:/?#[\]@!$&'()*+,;=%]+$/i

/** Ignores query and fragment, and applies the normalization of RFC 3986, sections 6.2.2 and 6.2.3. */
function isOf(htu: string, origins: readonly string[], target: string): boolean {
  if (origins.some((origin) => htu.startsWith(origin) && htu.slice(origin.length) === target)) {
    return true
  }
  if (!URI.test(htu) || !URL.canParse(htu)) return false
  const { origin, username, password, pathname } = new URL(htu)
  if (username !== '' || password !== '') return false
  return origins.includes(origin) && normalPath(pathname) === normalPath(target)
}

function normalPath(path: string): string {
  return path.replace(/%[\dA-Fa-f]{2}/g, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return /[\w\-.~]/.test(character) ? character : encoded.toUpperCase()
  })
}

/** Returns when the proof is no longer accepted, in epoch milliseconds. */
type JudgeTime = (claims: Members) => number

/**
 * 10 and 11. A proof's age is judged by its `iat`. Where a nonce is required, it is judged by the nonce instead, which holds
 * the gateway's own time: then the caller's clock does not matter. A nonce that is not the gateway's, or too old, is
 * answered with a new one (section 9).
 */
function createJudgeTime({ api, dpop, nonceSecrets }: CheckProofOptions): JudgeTime {
  const { clockToleranceMs: tolerance } = api
  const lifetime = dpop.maxAgeMs + tolerance
  const secret = dpop.nonce?.secret
  const nonces = dpop.nonce && createNonces(secret === undefined ? nonceSecrets : [secret])
  return ({ iat, nonce }) => {
    if (typeof iat !== 'number' || !Number.isFinite(iat)) {
      rejectProof('the "iat" claim of the proof must be a number')
    }
    if (nonces === undefined) {
      const age = Date.now() - iat * 1_000
      if (age < -tolerance) rejectProof('the "iat" claim of the proof is not in the past')
      if (age >= lifetime) rejectProof('the proof is too old')
      return iat * 1_000 + lifetime
    }
    const madeAt = typeof nonce === 'string' ? nonces.madeAt(nonce) : undefined
    const age = madeAt === undefined ? lifetime : Date.now() - madeAt
    if (madeAt === undefined || age < -tolerance || age >= lifetime) {
      throw new GatewayError('use_dpop_nonce', 'the proof must name the nonce of this answer', {
        dpopNonce: nonces.make(),
      })
    }
    return madeAt + lifetime
  }
}

function publicKey(jwk: PublicJwk, thumbprint: string, keys: Store<KeyObject>): KeyObject {
  const known = keys.get(thumbprint)
  if (known !== undefined) return known
  let key: KeyObject
  try {
    key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  } catch (cause) {
    rejectProof('the "jwk" header of the proof is not a usable key', cause)
  }
  const weakness = jwk['kty'] === 'RSA' ? rsaWeakness(key) : undefined
  if (weakness !== undefined) rejectProof(`the RSA key of the proof ${weakness}`)
  keys.set(thumbprint, key, KEY_KEPT_FOR_MS, KEY_BYTES)
  return key
}

const KEY_BYTES = 2_048

/** 6. The key signed the proof. */
function assertSigned(proof: string, algorithm: string, key: KeyObject): void {
  let signed: boolean
  try {
    signed = isSigned(proof, algorithm, key)
  } catch (cause) {
    rejectProof('the signature of the proof cannot be verified with its key', cause)
  }
  if (!signed) rejectProof('the signature of the proof does not match its key')
}

function rejectProof(detail: string, cause?: unknown): never {
  throw new GatewayError('invalid_dpop_proof', detail, { cause })
}

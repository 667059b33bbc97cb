import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomUUID,
  sign,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Client, Material } from '../config/config.ts'
import { type Current, current, reread } from './reread.ts'

/** The request that a proof is for. */
export interface ProofOf {
  readonly method: string
  /** Query and fragment are left out of the proof (RFC 9449, section 4.2: `htu`). */
  readonly url: string
  /** The one that this server gave last (RFC 9449, sections 8 and 9). */
  readonly nonce?: string | undefined
  /** SHA-256 of the access token that the proof goes with, in base64url; a request for a token has none. */
  readonly ath?: string | undefined
}

/** A key that tokens are bound to. The private half is in none of its properties. */
export interface DpopKey {
  /** RFC 7638, with SHA-256: the `cnf.jkt` of tokens that are bound to this key. */
  readonly thumbprint: string
  /**
   * A proof for one request, never for a second one (RFC 9449, section 4.2).
   *
   * Signed synchronously by node:crypto, because each upstream request needs a proof: P-256 takes 35 us, where jose over
   * WebCrypto takes 85 to 110 us of CPU and a turn of the thread pool. RSA takes 300 us.
   */
  proof(of: ProofOf): string
}

/** @param pem an RSA key of 2048 bits or more, or one of P-256; absent: a new one of P-256 */
export function createDpopKey(pem?: string): DpopKey {
  const privateKey =
    pem === undefined
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
      : createPrivateKey(pem)
  const jwk = publicJwk(privateKey)
  const alg = jwk['kty'] === 'EC' ? 'ES256' : 'RS256'
  const header = segment({ typ: 'dpop+jwt', alg, jwk })
  return {
    thumbprint: hash('sha256', JSON.stringify(jwk), 'base64url'),
    proof({ method, url, nonce, ath }) {
      const iat = Math.floor(Date.now() / 1_000)
      const claims = { jti: randomUUID(), htm: method, htu: withoutQuery(url), iat, ath, nonce }
      const input = `${header}.${segment(claims)}`
      const signature = sign('sha256', Buffer.from(input), {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
      })
      return `${input}.${signature.toString('base64url')}`
    },
  }
}

/** Only the members that RFC 7638, section 3.2, requires, in the order in which they are hashed. */
function publicJwk(privateKey: KeyObject): Readonly<Record<string, string | undefined>> {
  const { kty, crv, x, y, e, n } = createPublicKey(privateKey).export({ format: 'jwk' })
  return kty === 'EC' ? { crv, kty, x, y } : { e, kty, n }
}

function segment(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

function withoutQuery(url: string): string {
  const end = url.search(/[?#]/)
  return end < 0 ? url : url.slice(0, end)
}

const keys = new WeakMap<Client, Current<DpopKey>>()

/** The key of a client: the configured one, as its file is now, or else one that only this process has. */
export function dpopKeyOf(client: Client): Current<DpopKey> {
  let key = keys.get(client)
  if (key === undefined) keys.set(client, (key = currentKey(client.dpopKey)))
  return key
}

/** After a reload: hands a generated key on to the client's new object, so that tokens that are bound to it stay usable. */
export function inheritDpopKey(client: Client, from: Client): void {
  const key = keys.get(from)
  if (key !== undefined && client.dpopKey === undefined && from.dpopKey === undefined) {
    keys.set(client, key)
  }
}

function currentKey(material: Material | undefined): Current<DpopKey> {
  if (material === undefined || 'pem' in material) {
    const key = createDpopKey(material?.pem)
    return { now: () => key, fresh: () => Promise.resolve(key) }
  }
  return current(reread(material, createDpopKey), () =>
    createDpopKey(readFileSync(material.file, 'utf8')),
  )
}

const NONCE = /^[\x21\x23-\x5b\x5d-\x7e]{1,512}$/

/** RFC 9449, section 8.1. Limited to 512 characters, because each request repeats the nonce. */
export function isNonce(text: string): boolean {
  return NONCE.test(text)
}

/** The nonce that an answer gives for the next proof. Any answer may give one (RFC 9449, section 8.2). */
export function nonceOf(headers: Headers): string | undefined {
  const nonce = headers.get('dpop-nonce')
  return nonce !== null && isNonce(nonce) ? nonce : undefined
}

/** The last nonce of each issuer's origin. Never evicted: there are no more origins than are configured. */
export class Nonces {
  readonly #known = new Map<string, string>()

  for(url: string): string | undefined {
    return this.#known.get(new URL(url).origin)
  }

  learn(url: string, headers: Headers): void {
    const nonce = nonceOf(headers)
    if (nonce !== undefined) this.#known.set(new URL(url).origin, nonce)
  }
}

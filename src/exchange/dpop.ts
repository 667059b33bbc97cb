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

/** One request that a key is shown for. */
export interface ProofOf {
  readonly method: string
  /** Whatever follows the path is left out (RFC 9449, section 4.2: `htu`). */
  readonly url: string
  /** What this server gave last (RFC 9449, sections 8 and 9). */
  readonly nonce?: string | undefined
  /** SHA-256 of the access token that goes with it, in base64url; a request for a token has none. */
  readonly ath?: string | undefined
}

/** A key that tokens are bound to. The private half is in none of its properties. */
export interface DpopKey {
  /** RFC 7638, with SHA-256: what `cnf.jkt` of a token that is bound to it says. */
  readonly thumbprint: string
  /**
   * A proof for one request, never for a second one (RFC 9449, section 4.2).
   *
   * Signed at once and on this thread, by node:crypto: for P-256 that is 35 us, where a signature of jose's over WebCrypto
   * costs 85 to 110 us of CPU and a turn of the thread pool, for each upstream request. RSA takes 300 us.
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

/** Only what RFC 7638, section 3.2, requires, in the order that it wants. */
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

/** The key of a client: its own, as its file holds it, or one of this process alone. */
export function dpopKeyOf(client: Client): Current<DpopKey> {
  let key = keys.get(client)
  if (key === undefined) keys.set(client, (key = currentKey(client.dpopKey)))
  return key
}

/** What tokens of a client are bound to, that has no key of its own, is not lost with the object that described it. */
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

/** RFC 9449, section 8.1. Longer ones are nobody's nonce, and would be a part of every request. */
export function isNonce(text: string): boolean {
  return NONCE.test(text)
}

/** What an answer gives to be named in the next proof. Any answer may (RFC 9449, section 8.2). */
export function nonceOf(headers: Headers): string | undefined {
  const nonce = headers.get('dpop-nonce')
  return nonce !== null && isNonce(nonce) ? nonce : undefined
}

/** What issuers gave last, by their origins, of which there are no more than are configured. */
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

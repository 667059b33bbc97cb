/** Another reading of RFC 9449, by jose: what our own proofs are judged by, section 4.3 line by line. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, EmbeddedJWK, jwtVerify } from 'jose'

export interface Expected {
  readonly method: string
  /** As the server knows its own; its query does not count. */
  readonly url: string
  /** That the proof came with, if any. */
  readonly accessToken?: string | undefined
  readonly nonce?: string | undefined
}

/** A proof that holds: RFC 7638's thumbprint of its key, and its `jti`. */
export interface Proven {
  readonly thumbprint: string
  readonly jti: string
}

/** @throws where the proof is not one for exactly this request, made within the last minute */
export async function verifyProof(proof: unknown, expected: Expected): Promise<Proven> {
  assert.equal(typeof proof, 'string', 'exactly one proof')
  const text = proof as string
  const { payload, protectedHeader } = await jwtVerify(text, EmbeddedJWK, {
    typ: 'dpop+jwt',
    algorithms: ['ES256', 'RS256'],
    requiredClaims: ['jti', 'htm', 'htu', 'iat'],
    maxTokenAge: 60,
    clockTolerance: 5,
  })
  const { jwk } = decodeProtectedHeader(text)
  assert.ok(jwk !== undefined && jwk === Object(jwk))
  for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) {
    assert.equal(secret in jwk, false, `the private half is in the header: ${secret}`)
  }
  assert.deepEqual(Object.keys(protectedHeader).sort(), ['alg', 'jwk', 'typ'])
  const url = new URL(expected.url)
  assert.equal(payload['htm'], expected.method)
  assert.equal(payload['htu'], url.origin + url.pathname)
  const { accessToken } = expected
  const ath = accessToken && createHash('sha256').update(accessToken).digest('base64url')
  assert.equal(payload['ath'], ath)
  assert.equal(payload['nonce'], expected.nonce)
  return { thumbprint: await calculateJwkThumbprint(jwk), jti: payload.jti ?? '' }
}

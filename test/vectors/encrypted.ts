/** The units that open an encrypted token, driven with any key and any algorithms. */
import { createPrivateKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { createDecrypt, decryptionKeys } from '../../src/authenticate/decrypt.ts'
import { assertCanonicalEncrypted, formOf } from '../../src/authenticate/form.ts'
import { assertLength } from '../../src/authenticate/jwt.ts'
import { GatewayError } from '../../src/errors.ts'
import type { Jwk } from './signed.ts'

export interface Accepted {
  readonly algorithms: readonly string[]
  readonly encryptions: readonly string[]
}

/** What a configuration cannot change. */
export const OURS: Accepted = {
  algorithms: ['RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512'],
  encryptions: ['A128GCM', 'A192GCM', 'A256GCM'],
}

/** `valid`, or the code of the refusal. What is no refusal is a defect, and is thrown. */
export async function opened(token: string, jwk: Jwk, accepted?: Accepted): Promise<string> {
  try {
    assertLength(token)
    if (formOf(token) !== 'encrypted') return 'invalid_token'
    // Other encryptions have vectors and tags of other lengths.
    if (accepted === undefined) assertCanonicalEncrypted(token)
    const keys = decryptionKeys([{ key: keyOf(jwk), kid: undefined }])
    await createDecrypt({ keys: () => keys, ...accepted })(token)
    return 'valid'
  } catch (error) {
    if (error instanceof GatewayError && error.code !== 'internal_error') return error.code
    throw error
  }
}

function keyOf(jwk: Jwk): KeyObject {
  return jwk['kty'] === 'oct'
    ? createSecretKey(Buffer.from(String(jwk['k']), 'base64url'))
    : createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' })
}

/** As its header names them. */
export function namedBy(token: string): Accepted {
  try {
    const header = Buffer.from(token.split('.')[0]!, 'base64url').toString('utf8')
    const { alg, enc } = JSON.parse(header) as { readonly alg?: unknown; readonly enc?: unknown }
    return { algorithms: [String(alg)], encryptions: [String(enc)] }
  } catch {
    return { algorithms: [], encryptions: [] }
  }
}

import { createPublicKey } from 'node:crypto'
import { CompactEncrypt } from 'jose'
import type { ResourceServer } from './resource-server.ts'

/**
 * The signed token, encrypted for its API if that has a key (nested, RFC 7519, section 11.2). Then only the API can read it.
 */
export async function encrypted(signed: string, server: ResourceServer): Promise<string> {
  const { token_encryption: encryption } = server
  if (encryption === undefined || encryption === null) return signed
  const { alg, kid, pem } = encryption.encryption_key
  return new CompactEncrypt(Buffer.from(signed))
    .setProtectedHeader({
      alg,
      enc: 'A256GCM',
      cty: 'JWT',
      ...(kid === undefined ? {} : { kid }),
    })
    .encrypt(createPublicKey(pem))
}

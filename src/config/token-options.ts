import { z } from 'zod'
import { secret, text } from './values.ts'

/* Options for encrypted and opaque tokens. `apis.ts` and `authentications.ts` judge how they go together. */

/** A token without a `kid` is tried with all of them. */
const MOST_KEYS = 8

export const decryptionKeys = z
  .array(
    z.union([
      secret(),
      z.strictObject({
        key: secret().describe(
          'The private key: PEM, or the path of a file, which is read again when it changes.',
        ),
        kid: text().describe(
          'The `kid` by which tokens name this key. A token with this `kid` is decrypted with this key alone; a token ' +
            'with another is never decrypted with it.',
        ),
      }),
    ]),
  )
  .min(1)
  .max(MOST_KEYS)
  .optional()
  .describe(
    'The private keys that decrypt its access tokens (a signed token within a JWE; RSA-OAEP with SHA-2, and ' +
      'AES-GCM). Each is PEM, or the path of a file, which is read again when it changes, or `{ key, kid }`. RSA of ' +
      '2048 bits or more; at most eight keys. List both the old and the new key while one is being replaced. With this ' +
      'option, a token that is not encrypted is refused. The gateway sends the decrypted, signed token to the issuer. ' +
      'Of the APIs of one route, only one may have this option.',
  )

export const introspection = z
  .boolean()
  .prefault(false)
  .describe(
    'Also accept access tokens that are not JWTs: the gateway asks the issuer about them (RFC 7662), as the `client` ' +
      'of the API. Answers are kept for at most 60 seconds, and refusals for five: a revoked token is accepted for as ' +
      'long. JWTs are still verified by their signatures. The answer must contain `sub`, `aud` and `token_type`. Of ' +
      'the APIs of one route, only one may have this option.',
  )

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
        key: secret().describe('The private key: PEM, or the path of a file, read again likewise.'),
        kid: text().describe(
          'The `kid` that tokens name it by: they are tried with this key alone. Tokens that name another are not tried ' +
            'with it.',
        ),
      }),
    ]),
  )
  .min(1)
  .max(MOST_KEYS)
  .optional()
  .describe(
    'The private keys that its access tokens are encrypted to (a signed token within a JWE; RSA-OAEP with SHA-2, and ' +
      'AES-GCM): each PEM, or the path of a file that holds it and is read again when it changes, or `{ key, kid }`. RSA ' +
      'of 2048 bits or more, at most eight: while one is being replaced, both. With them a token that is not encrypted is ' +
      'refused. The issuer is sent the signed token within. Of the APIs of one route one alone may have them.',
  )

export const introspection = z
  .boolean()
  .prefault(false)
  .describe(
    'Take access tokens that are no JWTs, too, and ask the issuer what they say (RFC 7662), as the `client` of the API. ' +
      'Answers are kept for 60 seconds at most, and refusals for five: a token that is revoked is used for as long. JWTs ' +
      'are verified by their signatures all the same. The answer must name `sub`, `aud` and `token_type`. Of the APIs of ' +
      'one route one alone may have it.',
  )

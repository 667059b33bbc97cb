import { z } from 'zod'
import { text, secret, pem, filePath } from './values.ts'

/** `clients.ts` judges how these options go together. */
export const client = z
  .strictObject({
    id: text().describe('The client id.'),
    method: z
      .enum(['client_secret_post', 'client_secret_basic', 'private_key_jwt', 'tls_client_auth'])
      .optional()
      .describe(
        'How the client authenticates at the token endpoint. Default: what the options beside it say. With a secret: ' +
          '`client_secret_post` with profiles `auth0`, `auth0-legacy` and `entra`; `client_secret_basic` with the ' +
          'others, which every issuer must take (RFC 6749, section 2.3.1).',
      ),
    secret: secret()
      .optional()
      .describe(
        'The client secret. Exactly one of `secret`, `privateKey`, `certificate` and `assertionFile` is needed.',
      ),
    privateKey: secret()
      .optional()
      .describe(
        'The key that client assertions are signed with (`private_key_jwt`, RFC 7523): PEM, or the path of a file that ' +
          'holds it and is read again when it changes. RSA of 2048 bits or more, or P-256; without a passphrase.',
      ),
    keyId: text()
      .optional()
      .describe(
        'The `kid` of those assertions, by which the issuer finds the public key. With profile `entra` it is the ' +
          "certificate's SHA-256 thumbprint in base64url, and is sent as `x5t#S256`. Default: none is sent.",
      ),
    algorithm: z
      .enum(['RS256', 'PS256', 'ES256'])
      .optional()
      .describe(
        'How they are signed. Default: `RS256` with an RSA key, `ES256` with one of P-256.',
      ),
    certificate: pem()
      .optional()
      .describe(
        'The certificate that the client shows (`tls_client_auth`, RFC 8705), with any intermediate ones after it: PEM, ' +
          'or the path of a file that holds it and is read again when it changes. Needs `key`. Beside another way to ' +
          'authenticate it is what tokens are bound to where a route asks for `bound: mtls`, and is shown there alone.',
      ),
    key: secret()
      .optional()
      .describe(
        'The private key of `certificate`: PEM, or the path of a file, read again likewise.',
      ),
    dpopKey: secret()
      .optional()
      .describe(
        'The key that tokens are bound to where a route asks for `bound: dpop` (RFC 9449): PEM, or the path of a file that ' +
          'holds it and is read again when it changes. P-256, or RSA of 2048 bits or more, which takes ten times as long ' +
          'to sign with, for each request; without a passphrase. Default: each process makes one for itself, so that no ' +
          'other can use its tokens.',
      ),
    assertionFile: filePath()
      .optional()
      .describe(
        'A file with a JWT that says who the client is and that the issuer trusts somebody else for, such as a projected ' +
          'service-account token of Kubernetes. It is read again when it changes.',
      ),
  })
  .optional()
  .describe(
    'With what the API authenticates to its issuer. Required where a route exchanges its tokens.',
  )

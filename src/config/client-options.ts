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
        'How the client authenticates at the token endpoint. Default: the method that the options beside it need. With ' +
          '`secret`, that is `client_secret_post` with profiles `auth0`, `auth0-legacy` and `entra`, and ' +
          '`client_secret_basic` with the others, because every issuer must accept it (RFC 6749, section 2.3.1).',
      ),
    secret: secret()
      .optional()
      .describe(
        'The client secret. Exactly one of `secret`, `privateKey`, `certificate` and `assertionFile` is needed.',
      ),
    privateKey: secret()
      .optional()
      .describe(
        'The private key that signs client assertions (`private_key_jwt`, RFC 7523): PEM, or the path of a file, which ' +
          'is read again when it changes. RSA of 2048 bits or more, or P-256; without a passphrase.',
      ),
    keyId: text()
      .optional()
      .describe(
        'The `kid` of client assertions, by which the issuer finds the public key. With profile `entra` it is the ' +
          "certificate's SHA-256 thumbprint in base64url, and is sent as `x5t#S256`. Default: none is sent.",
      ),
    algorithm: z
      .enum(['RS256', 'PS256', 'ES256'])
      .optional()
      .describe(
        'The algorithm that signs client assertions. Default: `RS256` with an RSA key, `ES256` with a P-256 key.',
      ),
    certificate: pem()
      .optional()
      .describe(
        'The certificate that the client presents to the issuer (`tls_client_auth`, RFC 8705), followed by any ' +
          'intermediate ones: PEM, or the path of a file, which is read again when it changes. Needs `key`. Beside ' +
          'another way to authenticate, it is only used on routes with `bound: mtls`, whose issued tokens are bound to ' +
          'it.',
      ),
    key: secret()
      .optional()
      .describe(
        'The private key of `certificate`: PEM, or the path of a file, which is read again when it changes.',
      ),
    dpopKey: secret()
      .optional()
      .describe(
        'The private key that issued tokens are bound to on routes with `bound: dpop` (RFC 9449): PEM, or the path of ' +
          'a file, which is read again when it changes. P-256, or RSA of 2048 bits or more; without a passphrase. Each ' +
          'request to the upstream needs a signature, which takes ten times as long with RSA. Default: each process ' +
          'makes a key for itself, so that no other process can use its tokens.',
      ),
    assertionFile: filePath()
      .optional()
      .describe(
        'The path of a file with a JWT that identifies the client and was signed by a third party that the issuer ' +
          'trusts, such as a projected service-account token of Kubernetes. The file is read again when it changes.',
      ),
  })
  .optional()
  .describe(
    'The client that the API uses to authenticate to its issuer. Required where a route exchanges its tokens.',
  )

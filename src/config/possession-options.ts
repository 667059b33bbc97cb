import { z } from 'zod'
import { duration, secret, text } from './values.ts'

/* The part of the schema about proof of possession; `possession.ts` judges how the options go together. */

/** Asymmetric algorithms alone (RFC 9449, section 4.2): callers sign proofs with private keys of their own. */
const PROOF_ALGORITHMS = ['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'PS256', 'RS256'] as const

const LEAST_AGE_MS = 1_000
/** Used proofs have to be remembered for as long. */
const MOST_AGE_MS = 600_000

export const proofOfPossession = z
  .strictObject({
    mechanism: z
      .enum(['dpop', 'mtls'])
      .describe(
        'What tokens are bound to: a key that the caller proves to hold with each request (`dpop`, RFC 9449; needs ' +
          "`server.publicOrigin`), or the certificate of the caller's connection (`mtls`, RFC 8705; needs " +
          '`server.tls.clientCertificates`, or a proxy in `server.trustedProxies` that forwards the certificate).',
      ),
    required: z
      .boolean()
      .prefault(true)
      .describe(
        'Whether tokens must be bound. `false`: tokens that are not bound are accepted, too. A bound token always needs ' +
          'its proof, at every API.',
      ),
    requiredFor: z
      .enum(['all_clients', 'public_clients'])
      .optional()
      .describe(
        "Which clients' tokens must be bound; the values are Auth0's. `public_clients`: those of all clients but " +
          '`confidentialClients`, which must be listed because a token does not say of which kind its client is. Default: ' +
          '`all_clients`.',
      ),
    confidentialClients: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'With `requiredFor: public_clients`, the ids of the clients that authenticate to the issuer. Their tokens need ' +
          'not be bound.',
      ),
    algorithms: z
      .array(z.enum(PROOF_ALGORITHMS))
      .min(1)
      .optional()
      .describe(
        'With `dpop`, the accepted signature algorithms of proofs. RSA keys must have 2048 bits or more. Default: ' +
          '`[ES256, EdDSA, Ed25519, PS256, RS256]`.',
      ),
    maxAge: duration({ least: LEAST_AGE_MS, most: MOST_AGE_MS })
      .optional()
      .describe(
        'With `dpop`, how old a proof may be, according to its `iat`; with `nonce: required`, according to its ' +
          'nonce, so that the clocks of callers do not matter. `clockTolerance` is added. A used proof is remembered ' +
          'for as long, so that it cannot be used again. At most `10m`. Default: `1m`; with `nonce: required`, `5m`.',
      ),
    nonce: z
      .enum(['off', 'required'])
      .optional()
      .describe(
        'With `dpop`, whether each proof must contain a nonce from the gateway, so that proofs cannot be made in ' +
          'advance. A caller gets the nonce with the refusal `use_dpop_nonce`, once in each `maxAge`. Default: `off`.',
      ),
    nonceSecret: secret()
      .optional()
      .describe(
        'With `nonce: required`, the secret that nonces are made from, the same in all replicas: at least 32 bytes. ' +
          'Default: the sealing keys of `cache.redis`, else each process makes a secret for itself.',
      ),
    replay: z
      .literal('local')
      .optional()
      .describe(
        'With `dpop`, `local` accepts a proof even if the gateway cannot tell whether another replica has already ' +
          'accepted it. That is the case while Redis does not answer, and always with several `server.replicas` and no ' +
          '`cache.redis`, where `local` is required. Danger: each replica then accepts a proof once. Default: such a ' +
          'proof is refused with 503 `replay_store_unavailable`.',
      ),
  })
  .optional()
  .describe(
    'Whether callers must prove that a token is theirs. Default: they need not, the scheme `DPoP` is refused, and a ' +
      'token that is bound to a certificate still needs that certificate.',
  )

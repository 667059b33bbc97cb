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
        'What tokens are bound to: a key that the caller proves with each request (`dpop`, RFC 9449; needs ' +
          "`server.publicOrigin`), or the certificate of the caller's connection (`mtls`, RFC 8705; needs " +
          '`server.tls.clientCertificates`, or a proxy in `server.trustedProxies` that tells the certificate).',
      ),
    required: z
      .boolean()
      .prefault(true)
      .describe(
        'Whether tokens must be bound. With `false`, those that are not are taken as well. A token that is bound always ' +
          'needs its proof, at every API.',
      ),
    requiredFor: z
      .enum(['all_clients', 'public_clients'])
      .optional()
      .describe(
        'Whose tokens must be bound, as Auth0 names it. `public_clients`: those of all clients but `confidentialClients`; ' +
          'a token does not tell of which kind its client is. Default: `all_clients`.',
      ),
    confidentialClients: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'With `requiredFor: public_clients`, the ids of the clients that authenticate to the issuer, whose tokens need not ' +
          'be bound.',
      ),
    algorithms: z
      .array(z.enum(PROOF_ALGORITHMS))
      .min(1)
      .optional()
      .describe(
        'With `dpop`, the signature algorithms of proofs. RSA keys have 2048 bits or more. ' +
          'Default: `[ES256, EdDSA, Ed25519, PS256, RS256]`.',
      ),
    maxAge: duration({ least: LEAST_AGE_MS, most: MOST_AGE_MS })
      .optional()
      .describe(
        'With `dpop`, how old a proof may be, by its `iat`; with `nonce: required` by its nonce, so that the clocks of ' +
          'callers do not matter. `clockTolerance` is added. A proof is remembered for as long, so that none is used ' +
          'twice. At most `10m`. Default: `1m`; with `nonce: required`, `5m`.',
      ),
    nonce: z
      .enum(['off', 'required'])
      .optional()
      .describe(
        'With `dpop`, whether proofs must name a nonce of the gateway, which a caller gets with the refusal ' +
          '`use_dpop_nonce`: proofs cannot be made ahead then. Each caller is refused once in each `maxAge`. ' +
          'Default: `off`.',
      ),
    nonceSecret: secret()
      .optional()
      .describe(
        'With `nonce: required`, what nonces are made from, the same in all replicas: at least 32 bytes. Default: the ' +
          'sealing keys of `cache.redis`, else each process makes one for itself.',
      ),
    replay: z
      .literal('local')
      .optional()
      .describe(
        'With `dpop`, take a proof where not all can be asked whether it was used: `local`. That is so with several ' +
          '`server.replicas` and no `cache.redis`, where it has to be said, and while Redis does not answer. Danger: each ' +
          'replica then takes a proof once. Default: such a proof is refused, with 503 `replay_store_unavailable`.',
      ),
  })
  .optional()
  .describe(
    'Whether callers must show that a token is theirs. Absent: none need to, the scheme `DPoP` is not taken, and tokens ' +
      'that are bound to a certificate need that certificate.',
  )

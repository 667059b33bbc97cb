import type { z } from 'zod'
import type { Faults, Path } from './faults.ts'
import { mapping } from './parts.ts'
import { processesOf } from './processes.ts'
import type { apiSchema } from './schema.ts'
import { isShort, weaknessOf } from './secrets.ts'

/** What tokens are bound to, and whether they must be. A token that is bound always needs its proof. */
export type ProofOfPossession = {
  /** Default true. */
  readonly required: boolean
  /** The clients whose tokens need not be bound all the same. */
  readonly exempt: ReadonlySet<string>
} & (DpopConfig | { readonly mechanism: 'mtls' })

/** RFC 9449. */
export interface DpopConfig {
  readonly mechanism: 'dpop'
  readonly algorithms: readonly DpopAlgorithm[]
  /** How old a proof may be, by its `iat` or, where one is required, by its nonce. Default 60 000; with a nonce 300 000. */
  readonly maxAgeMs: number
  /**
   * Proofs must name one (RFC 9449, section 9). Without a secret they are made of the sealing keys that replicas share, else
   * of one that each process makes for itself.
   */
  readonly nonce: { readonly secret: string | undefined } | undefined
  /** `local`: a proof is taken although only this process could be asked whether it was used. Default: where it is alone. */
  readonly replay: 'local' | undefined
}

export type DpopAlgorithm = 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'Ed25519' | 'PS256' | 'RS256'

type PossessionInput = NonNullable<z.output<typeof apiSchema>['proofOfPossession']>

const DEFAULT_ALGORITHMS: readonly DpopAlgorithm[] = ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256']
const DEFAULT_AGE_MS = { off: 60_000, required: 300_000 }
const DPOP_ALONE = ['algorithms', 'maxAge', 'nonce', 'nonceSecret', 'replay'] as const

/** What an API asks of its callers; undefined where something is wrong with it. */
export function resolvePossession(
  input: PossessionInput,
  at: Path,
  faults: Faults,
): ProofOfPossession | undefined {
  const { mechanism, nonce = 'off', nonceSecret } = input
  if (mechanism === 'mtls') {
    for (const option of DPOP_ALONE) {
      if (input[option] !== undefined) faults.add([...at, option], 'is of no use with `mtls`')
    }
  }
  checkRequired(input, at, faults)
  if (nonceSecret !== undefined)
    checkNonceSecret(nonceSecret, nonce, [...at, 'nonceSecret'], faults)
  if (faults.within(at)) return undefined
  const required = {
    required: input.required,
    exempt: new Set(input.confidentialClients),
  }
  if (mechanism === 'mtls') return { mechanism, ...required }
  return {
    mechanism,
    ...required,
    algorithms: input.algorithms ?? DEFAULT_ALGORITHMS,
    maxAgeMs: input.maxAge ?? DEFAULT_AGE_MS[nonce],
    nonce: nonce === 'off' ? undefined : { secret: nonceSecret },
    replay: input.replay,
  }
}

function checkRequired(input: PossessionInput, at: Path, faults: Faults): void {
  const { required, requiredFor, confidentialClients } = input
  for (const option of ['requiredFor', 'confidentialClients'] as const) {
    if (!required && input[option] !== undefined) {
      faults.add([...at, option], 'is of no use with `required: false`')
    }
  }
  if (!required) return
  if (requiredFor === 'public_clients' && confidentialClients === undefined) {
    faults.add([...at, 'requiredFor'], 'needs `confidentialClients`: no token tells of which it is')
  }
  if (requiredFor !== 'public_clients' && confidentialClients !== undefined) {
    const message = 'is of no use without `requiredFor: public_clients`'
    faults.add([...at, 'confidentialClients'], message)
  }
}

function checkNonceSecret(secret: string, nonce: string, at: Path, faults: Faults): void {
  if (nonce === 'off') faults.add(at, 'is of no use without `nonce: required`')
  const weakness = isShort(secret) ? 'must be at least 32 bytes long' : weaknessOf(secret, false)
  if (weakness !== undefined) faults.add(at, weakness)
}

interface Surroundings {
  /** As they are written. */
  readonly apis: Readonly<Record<string, unknown>>
  /** Undefined where something is wrong with the listener. */
  readonly server:
    | {
        readonly publicOrigin?: string | string[] | undefined
        readonly replicas: number
        readonly workers: number
      }
    | undefined
  /** Whether replicas share a level that knows what was used, and from whose keys nonces are made. */
  readonly shares: boolean
}

/** What proofs need beside their API: a place that they are for, and one that knows those that were used. */
export function checkPossession({ apis, server, shares }: Surroundings, faults: Faults): void {
  if (server === undefined) return
  for (const [name, value] of Object.entries(apis)) {
    const at = ['apis', name, 'proofOfPossession']
    const { mechanism, replay, nonce, nonceSecret } = mapping(mapping(value)['proofOfPossession'])
    if (mechanism !== 'dpop') continue
    if (server.publicOrigin === undefined) {
      const message = 'needs `server.publicOrigin`: a proof names the address that it is for'
      faults.add([...at, 'mechanism'], message)
    }
    if (shares) continue
    // Workers of one replica know each other's proofs, and not each other's nonces.
    if (replay === undefined && server.replicas > 1) {
      const message =
        'needs `cache.redis`, or `replay: local`: with several replicas nobody knows all proofs that were used, and each takes a proof once'
      faults.add([...at, 'mechanism'], message)
    }
    if (nonce === 'required' && nonceSecret === undefined && processesOf(server) > 1) {
      faults.add(
        [...at, 'nonce'],
        'needs `nonceSecret`, or `cache.redis`: several processes know only the nonces that are made of one secret',
      )
    }
  }
}

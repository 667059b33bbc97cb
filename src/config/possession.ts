import type { z } from 'zod'
import type { Faults, Path } from './faults.ts'
import { mapping } from './parts.ts'
import { processesOf } from './processes.ts'
import type { apiSchema } from './schema.ts'
import { isShort, weaknessOf } from './secrets.ts'

/** What tokens may be bound to, and whether they must be. A bound token always needs its proof. */
export type ProofOfPossession = {
  /** Default true. */
  readonly required: boolean
  /** The clients whose tokens need not be bound even where `required` is true. */
  readonly exempt: ReadonlySet<string>
} & (DpopConfig | { readonly mechanism: 'mtls' })

/** RFC 9449. */
export interface DpopConfig {
  readonly mechanism: 'dpop'
  readonly algorithms: readonly DpopAlgorithm[]
  /** How old a proof may be, by its `iat`, or by its nonce where one is required. Default 60 000; with a nonce 300 000. */
  readonly maxAgeMs: number
  /**
   * Proofs must name a nonce (RFC 9449, section 9). Without `secret`, nonces are made with a secret derived from the sealing
   * keys that replicas share, or else with one that each process makes for itself.
   */
  readonly nonce: { readonly secret: string | undefined } | undefined
  /** `local`: a proof is taken even where not all stores could tell whether it was used. Undefined: refused then. */
  readonly replay: 'local' | undefined
}

export type DpopAlgorithm = 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'Ed25519' | 'PS256' | 'RS256'

type PossessionInput = NonNullable<z.output<typeof apiSchema>['proofOfPossession']>

const DEFAULT_ALGORITHMS: readonly DpopAlgorithm[] = ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256']
const DEFAULT_AGE_MS = { off: 60_000, required: 300_000 }
const DPOP_ALONE = ['algorithms', 'maxAge', 'nonce', 'nonceSecret', 'replay'] as const

/** Resolves an API's `proofOfPossession`; undefined where it has faults. */
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
  /** The APIs as they are written, faulty ones included. */
  readonly apis: Readonly<Record<string, unknown>>
  /** Undefined where `server` has faults. */
  readonly server:
    | {
        readonly publicOrigin?: string | string[] | undefined
        readonly replicas: number
        readonly workers: number
      }
    | undefined
  /** Whether replicas share Redis, which knows the proofs that were used, and whose sealing keys nonces are made with. */
  readonly shares: boolean
}

/** Checks what proofs need beside their API: an address that they are for, and a store that knows all used ones. */
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
    // Workers of one replica share the used proofs, but not the secrets of nonces.
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

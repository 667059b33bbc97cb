import type { Api, Config, Issuer } from '../config/config.ts'
import type { Blank } from './blanks.ts'

/** Which of Auth0's two On-Behalf-Of exchanges a tenant has: that of 2026, or that of 2019. */
export type Generation = 'current' | 'legacy'

/** The part of the configuration that concerns one tenant. */
export interface Plot {
  readonly config: Config
  readonly issuer: Issuer
  readonly generation: Generation
  readonly apis: readonly Api[]
  /** Variables of these APIs that are not set yet. */
  readonly blanks: readonly Blank[]
}

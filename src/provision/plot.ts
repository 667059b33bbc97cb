import type { Api, Config, Issuer } from '../config/config.ts'
import type { Blank } from './blanks.ts'

/** Which of Auth0's two ways of On-Behalf-Of a tenant has: that of 2026, or that of 2019. */
export type Generation = 'current' | 'legacy'

/** The part of the configuration that one tenant is about. */
export interface Plot {
  readonly config: Config
  readonly issuer: Issuer
  readonly generation: Generation
  readonly apis: readonly Api[]
  /** What of them no variable says yet. */
  readonly blanks: readonly Blank[]
}

import { GatewayError } from '../errors.ts'
import type { Outbound } from '../outbound.ts'
import { createKeySet, type KeySet } from './key-set.ts'
import type { Metadata } from './metadata.ts'
import { createRefreshed } from './refreshed.ts'

/** The public keys of one issuer. */
export interface Keys {
  /** Changes with the key set, so that a remembered verification does not outlive its key. Empty before the first load. */
  epoch(): string
  /** @throws {GatewayError} `keys_unavailable` */
  current(): Promise<KeySet>
  /**
   * As `current`, but asks the issuer again, unless it was just asked. For a token whose key is not in the known set: only
   * the issuer can tell whether the key is new or nobody's.
   *
   * @throws {GatewayError} `keys_unavailable`
   */
  renewed(): Promise<KeySet>
}

/** The keys of an issuer that is asked for them repeatedly. */
export interface IssuerKeys extends Keys {
  /** Whether the last load failed. Earlier keys are still used for a while (`staleForMs`). */
  failing(): boolean
}

const FRESH_FOR_MS = 10 * 60_000
// A flood of unknown key ids causes at most one request in this time, and delays the use of a new key by no more.
const COOLDOWN_SECONDS = 5
// Shorter while there are no keys at all: every request needs them, and an issuer that starts after the gateway is up soon.
const RETRY_AFTER_SECONDS = 1

export interface KeysOptions {
  readonly metadata: Metadata
  readonly outbound: Outbound
  /** How long keys are used beyond their ten minutes while they cannot be loaded, in milliseconds. */
  readonly staleForMs: number
}

export function createKeys(
  identifier: string,
  { metadata, outbound, staleForMs }: KeysOptions,
): IssuerKeys {
  const keys = createRefreshed({
    load: async () => {
      const answer = await outbound.fetch(await metadata(identifier, 'jwksUri'))
      if (answer.status !== 200) throw new Error(`the key set was answered ${answer.status}`)
      return createKeySet(await answer.text())
    },
    freshForMs: FRESH_FOR_MS,
    staleForMs,
    cooldownMs: COOLDOWN_SECONDS * 1_000,
    retryAfterMs: RETRY_AFTER_SECONDS * 1_000,
  })
  return {
    epoch: () => keys.peek()?.epoch ?? '',
    current: async () => available(async () => keys.current(), RETRY_AFTER_SECONDS),
    failing: () => keys.failing(),
    renewed: async () => available(async () => keys.renewed(), COOLDOWN_SECONDS),
  }
}

/** Missing keys are an outage (503), never a 401: they say nothing about the token. */
async function available(load: () => Promise<KeySet>, retryAfter: number): Promise<KeySet> {
  try {
    return await load()
  } catch (cause) {
    keysUnavailable("the issuer's keys cannot be had", cause, retryAfter)
  }
}

export function keysUnavailable(
  detail: string,
  cause: unknown,
  retryAfter = COOLDOWN_SECONDS,
): never {
  throw new GatewayError('keys_unavailable', detail, { cause, retryAfter })
}

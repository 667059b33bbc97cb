import { GatewayError } from '../errors.ts'
import type { Outbound } from '../outbound.ts'
import { createKeySet, type KeySet } from './key-set.ts'
import type { Metadata } from './metadata.ts'
import { createRefreshed } from './refreshed.ts'

/** The public keys of one issuer. */
export interface Keys {
  /** Changes whenever the set does, so that nothing verified by a key outlives it. Empty before the first load. */
  epoch(): string
  /** @throws {GatewayError} `keys_unavailable` */
  current(): Promise<KeySet>
  /**
   * As `current`, but asks the issuer again unless that was just done. For a token whose key is not in the set: while the
   * issuer cannot be asked, nobody knows whose it is.
   *
   * @throws {GatewayError} `keys_unavailable`
   */
  renewed(): Promise<KeySet>
}

/** Those of an issuer that is asked for them again and again. */
export interface IssuerKeys extends Keys {
  /** Whether it did not give them when it was last asked. Those that it gave before are used all the same, for a while. */
  failing(): boolean
}

const FRESH_FOR_MS = 10 * 60_000
// A flood of unknown key ids makes no more than one request in this time, and delays a new key by no more.
const COOLDOWN_SECONDS = 5
// While there are no keys at all everybody waits for them, and an issuer that was started a moment late is there soon.
const RETRY_AFTER_SECONDS = 1

export interface KeysOptions {
  readonly metadata: Metadata
  readonly outbound: Outbound
  /** How long keys are used beyond their ten minutes while the issuer does not answer, in milliseconds. */
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

/** Not knowing the keys says nothing about the token: an outage, never a 401. */
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

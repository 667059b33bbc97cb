/** Exchanges that wait for their turns of a bucket, in a time that is moved by hand. */
import assert from 'node:assert/strict'
import { GatewayError } from '../../src/errors.ts'
import type { Bucket } from '../../src/exchange/bucket.ts'
import type { Turn } from '../../src/exchange/line.ts'

/** When the time begins that is moved by hand, in epoch milliseconds. */
export const NOW = 1_800_000_000_000
export const MINUTE = 60_000

export interface Taker {
  /** Milliseconds after the start. */
  left?: number
  failure?: unknown
  readonly controller: AbortController
}

/** @param patience until the deadline, in milliseconds */
export function take(
  bucket: Bucket | undefined,
  patience = MINUTE,
  more: Partial<Turn> = {},
): Taker {
  const controller = new AbortController()
  const taker: Taker = { controller }
  const deadline = Date.now() + patience
  bucket!.take({ signal: controller.signal, deadline, ...more }).then(
    () => (taker.left = Date.now() - NOW),
    (failure: unknown) => (taker.failure = failure),
  )
  return taker
}

/** In how many seconds it was told to come back; fails where it was not refused. */
export function toldOf({ failure }: Taker): number | undefined {
  assert.ok(failure instanceof GatewayError, String(failure))
  assert.equal(failure.code, 'exchange_unavailable')
  return failure.retryAfter
}

export function leftOf(takers: readonly Taker[]): unknown[] {
  return takers.map(({ left }) => left)
}

/** What Redis answers, with strings as bytes. */
export type Reply = number | Buffer | string | null | undefined | readonly Reply[]

/** A connection to Redis that was there once, and ends for good. */
export interface Link {
  /** Whether anything can be asked. */
  readonly isReady: boolean
  /** Whether all of it is there. */
  readonly isWhole: boolean
  /** Rejects where nobody has the key now. */
  send(key: string, words: readonly (string | Buffer)[]): Promise<Reply>
  /** Resolves, with the reason, when another one is to be made in its place. */
  readonly ended: Promise<unknown>
  /** Resolves when what was sent is done. */
  close(): Promise<void>
  destroy(): void
}

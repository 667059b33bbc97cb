/** What Redis answers, with strings as bytes. */
export type Reply = number | Buffer | string | null | undefined | readonly Reply[]

/** An open connection to Redis. Once it has ended it does not come back. */
export interface Link {
  /** Whether any command can be sent. */
  readonly isReady: boolean
  /** Whether all of Redis is there: of a Cluster each master. */
  readonly isWhole: boolean
  /** Rejects where the server that has the key is not there. */
  send(key: string, words: readonly (string | Buffer)[]): Promise<Reply>
  /** Resolves, with the reason, when another link is to be opened in its place. */
  readonly ended: Promise<unknown>
  /** Resolves when the commands that were sent are done. */
  close(): Promise<void>
  destroy(): void
}

import type { Worker } from 'node:cluster'

/** A connection as `node:cluster` hands it to a worker. */
interface Handed {
  close(): void
}

interface Message {
  readonly act?: unknown
  /** The listener that accepted the connection. */
  readonly key?: unknown
}

/**
 * Closes connections that are on their way to a worker when it ends. `node:cluster` hands a worker one connection of each
 * listener, and the next when the worker has taken that one. If the worker ends before that, Node would leave the connection
 * open, and its caller would wait for ever. Another worker cannot have it, because a part of it may have been read.
 */
export class HandedConnections {
  /** The last connection that each worker was handed, by listener. One that was taken is closed in this process already. */
  readonly #last = new Map<Worker, Map<unknown, Handed>>()

  watch(worker: Worker): void {
    const handed = new Map<unknown, Handed>()
    this.#last.set(worker, handed)
    const { process: child } = worker
    const send = child.send.bind(child) as (...given: unknown[]) => boolean
    child.send = (...given: unknown[]): boolean => {
      const [message, connection] = given as [Message, Handed | undefined]
      if (message.act === 'newconn' && connection !== undefined) {
        this.#forget(connection)
        handed.set(message.key, connection)
      }
      return send(...given)
    }
    const close = (): void => {
      for (const connection of handed.values()) connection.close()
    }
    // Both, in whichever order they come: between them the worker may be handed one more.
    worker.once('disconnect', close)
    worker.once('exit', () => {
      this.#last.delete(worker)
      close()
    })
  }

  /** Node hands a connection that a worker did not take to another one. */
  #forget(connection: Handed): void {
    for (const handed of this.#last.values()) {
      for (const [key, one] of handed) if (one === connection) handed.delete(key)
    }
  }
}

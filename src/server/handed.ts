import type { Worker } from 'node:cluster'

/** A connection as `node:cluster` hands it on. */
interface Handed {
  close(): void
}

interface Message {
  readonly act?: unknown
  /** Of the listener. */
  readonly key?: unknown
}

/**
 * Connections on their way to workers. `node:cluster` hands a worker one of each listener, and the next when it has said that
 * it took that one. If it ends before, the connection would stay open with nobody behind it, and its caller wait for ever:
 * here it is closed. To give it to another worker would not be safe, since nobody knows whether a part of it was read.
 */
export class HandedConnections {
  /** The last that each was handed, by listener. Those that were taken are closed here already. */
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
    // In whichever order they come: between the two it may be handed one more.
    worker.once('disconnect', close)
    worker.once('exit', () => {
      this.#last.delete(worker)
      close()
    })
  }

  /** What a worker would not take is handed to another. */
  #forget(connection: Handed): void {
    for (const handed of this.#last.values()) {
      for (const [key, one] of handed) if (one === connection) handed.delete(key)
    }
  }
}

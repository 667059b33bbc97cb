/** Two processes that hear each other, in one. */
import { EventEmitter } from 'node:events'
import type { Peer } from '../../src/server/channel.ts'

export interface End extends Peer {
  readonly events: EventEmitter
  connected: boolean
  /** How many messages it was sent, by whoever is at the other end. */
  sent: number
  /** It reads nothing, as a process that is stopped; what it was sent lies there. */
  stop(): void
  /** It reads again, first what lies there. */
  resume(): void
}

class Ending implements End {
  readonly events = new EventEmitter()
  connected = true
  sent = 0
  other: Ending | undefined
  #unread: unknown[] | undefined

  on(event: string, listener: (message: unknown) => void): unknown {
    return this.events.on(event, listener)
  }

  send(message: object, callback: (error: Error | null) => void): void {
    const copy: unknown = structuredClone(message)
    setImmediate(() => {
      this.other?.receive(copy)
      callback(null)
    })
  }

  receive(message: unknown): void {
    this.sent++
    if (this.#unread !== undefined) this.#unread.push(message)
    // As Node does: what nobody listens to is lost.
    else this.events.emit('message', message)
  }

  stop(): void {
    this.#unread ??= []
  }

  resume(): void {
    const unread = this.#unread ?? []
    this.#unread = undefined
    for (const message of unread) this.events.emit('message', message)
  }
}

/** The two ends of a pair of processes. */
export function pair(): readonly [End, End] {
  const [one, other] = [new Ending(), new Ending()]
  one.other = other
  other.other = one
  return [one, other]
}

export function disconnect(...ends: readonly End[]): void {
  for (const one of ends) one.connected = false
  for (const one of ends) one.events.emit('disconnect')
}

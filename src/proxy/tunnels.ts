import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { closeFrame, Frames } from './frames.ts'

/** A WebSocket that both sides have agreed on. */
export interface TunnelOptions {
  readonly caller: Socket
  readonly upstream: Duplex
  /** How long it may stay open while nothing passes, in milliseconds. */
  readonly idleMs: number
  /** When the gateway closes it, in epoch milliseconds; undefined: only its two sides do. */
  readonly until: number | undefined
  /** Called when both connections have closed. */
  readonly ended: () => void
}

export interface Tunnels {
  /** How many are open. */
  readonly size: number
  open(options: TunnelOptions): void
  /** Closes all of them with the status 1001, also those that open later. Resolves when none is left. */
  leave(): Promise<void>
}

export function createTunnels(): Tunnels {
  const tunnels = new Set<Tunnel>()
  let leaving = false
  let emptied = (): void => undefined
  return {
    get size() {
      return tunnels.size
    },
    open(options) {
      const tunnel = new Tunnel(options, () => {
        tunnels.delete(tunnel)
        options.ended()
        if (tunnels.size === 0) emptied()
      })
      tunnels.add(tunnel)
      if (leaving) tunnel.leave(...GOING_AWAY)
    },
    leave() {
      leaving = true
      const all = new Promise<void>((resolve) => {
        if (tunnels.size === 0) resolve()
        else emptied = resolve
      })
      for (const tunnel of tunnels) tunnel.leave(...GOING_AWAY)
      return all
    },
  }
}

/** RFC 6455, section 7.4.1. */
const GOING_AWAY = [1001, 'the gateway is going away'] as const
const IDLE = [1001, 'nothing has passed for long'] as const
const EXPIRED = [1008, 'the access token has expired'] as const

/** How long one side has to end after the other, in milliseconds. */
const LINGER_MS = 5_000

/** The longest that a timer of Node can wait. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Passes bytes both ways unchanged, as fast as the slower side takes them. It reads only the heads of frames, so that the
 * gateway's close frame comes between two others. A side that is in the middle of a frame when its time is up is cut off.
 */
class Tunnel {
  readonly #down: Way
  readonly #up: Way
  readonly #ended: () => void
  #expiry: NodeJS.Timeout | undefined
  #linger: NodeJS.Timeout | undefined
  #open = 2

  constructor({ caller, upstream, idleMs, until }: TunnelOptions, ended: () => void) {
    this.#ended = ended
    this.#down = new Way(upstream, caller, 'client')
    this.#up = new Way(caller, upstream, 'server')
    for (const [side, other] of [
      [caller, upstream],
      [upstream, caller],
    ] as const) {
      side.on('error', () => other.destroy())
      side.once('end', () => this.#endSoon())
      // A socket that closed before the listener was added emits nothing more.
      if (side.closed) setImmediate(() => this.#closed(other))
      else side.once('close', () => this.#closed(other))
    }
    caller.setTimeout(idleMs, () => this.leave(...IDLE))
    if (until !== undefined) this.#expireAt(until)
    this.#down.start()
    this.#up.start()
  }

  leave(status: number, reason: string): void {
    this.#down.leave(status, reason)
    this.#up.leave(status, reason)
    this.#endSoon()
  }

  #expireAt(until: number): void {
    const left = until - Date.now()
    if (left <= 0) {
      this.leave(...EXPIRED)
      return
    }
    this.#expiry = setTimeout(() => this.#expireAt(until), Math.min(left, LONGEST_TIMER_MS))
    this.#expiry.unref()
  }

  #endSoon(): void {
    this.#linger ??= setTimeout(() => this.#cut(), LINGER_MS).unref()
  }

  #cut(): void {
    this.#down.from.destroy()
    this.#up.from.destroy()
  }

  #closed(other: Duplex): void {
    // This side closed without an end: the other one must not take half a message for a whole one.
    if (!other.writableEnded) other.destroy()
    if (--this.#open > 0) return
    clearTimeout(this.#expiry)
    clearTimeout(this.#linger)
    this.#ended()
  }
}

/** One direction. */
class Way {
  readonly from: Duplex
  readonly #to: Duplex
  readonly #toWhom: 'client' | 'server'
  readonly #frames = new Frames()
  #last: Buffer | undefined
  #over = false

  constructor(from: Duplex, to: Duplex, toWhom: 'client' | 'server') {
    this.from = from
    this.#to = to
    this.#toWhom = toWhom
  }

  start(): void {
    this.from.on('data', (piece: Buffer) => this.#pass(piece))
    this.from.once('end', () => this.#end())
    this.#to.on('drain', () => this.from.resume())
  }

  /** Sends a close frame, after the frame that is under way: its side may finish that. */
  leave(status: number, reason: string): void {
    if (this.#over || this.#last !== undefined) return
    this.#last = closeFrame(status, reason, this.#toWhom)
    if (this.#frames.isBetween) this.#end(this.#last)
    else this.from.resume()
  }

  #pass(piece: Buffer): void {
    // What follows the close frame is read and dropped, or else the `end` event would never come.
    if (this.#over) return
    const passed = this.#frames.follow(piece, this.#last !== undefined)
    if (!this.#to.write(passed === piece.length ? piece : piece.subarray(0, passed))) {
      this.from.pause()
    }
    if (this.#last !== undefined && this.#frames.isBetween) this.#end(this.#last)
  }

  #end(last?: Buffer): void {
    if (this.#over) return
    this.#over = true
    this.#to.end(last)
    this.from.resume()
  }
}

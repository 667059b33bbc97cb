/** How two processes of one gateway ask each other. Both run the same release, so messages are not validated again. */
import { masked } from '../log.ts'

/** Each question, with what is sent and what is answered: plain data that can be cloned (`structuredClone`). */
export type Protocol = Readonly<Record<string, (what: never) => unknown>>

/** The handlers of the side that is asked. */
export type Handlers<Of extends Protocol> = {
  readonly [Name in keyof Of]: (
    what: Parameters<Of[Name]>[0],
  ) => ReturnType<Of[Name]> | Promise<ReturnType<Of[Name]>>
}

/** A worker of `node:cluster`, or its primary. */
export interface Peer {
  readonly connected?: boolean | undefined
  send?(message: object, callback: (error: Error | null) => void): unknown
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'disconnect', listener: () => void): unknown
}

interface Asked {
  readonly ask: string
  readonly id: number
  readonly what: unknown
}

interface Answered {
  readonly to: number
  readonly value?: unknown
  readonly failure?: { readonly message: string; readonly code?: string | undefined }
}

/** The other process answered with a failure, or not at all. `code` is the one of its error there. */
export class PeerFailure extends Error {
  override readonly name = 'PeerFailure'
  readonly code: string

  constructor({ message, code = 'PEER_FAILED' }: NonNullable<Answered['failure']>) {
    super(message)
    this.code = code
  }
}

export type Ask<Of extends Protocol> = <Name extends keyof Of & string>(
  name: Name,
  what: Parameters<Of[Name]>[0],
  /** How long the answer may take, in milliseconds. */
  withinMs: number,
) => Promise<ReturnType<Of[Name]>>

interface Waiting {
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

/** The number that the answering side sends first, to say that it listens: Node may lose messages sent before. */
const HERE = 0

/**
 * The side that asks. Open questions to a process that goes are rejected.
 *
 * @param isThere whether the other side is known to listen already. Default: questions wait until it says so
 */
export function asking<Of extends Protocol>(peer: Peer, isThere = false): Ask<Of> {
  const waiting = new Map<number, Waiting>()
  let early: Asked[] | undefined = isThere ? undefined : []
  let asked = HERE

  function settle(id: number): Waiting | undefined {
    const one = waiting.get(id)
    waiting.delete(id)
    clearTimeout(one?.timer)
    return one
  }
  const fail = (id: number, message: string): void =>
    settle(id)?.reject(new PeerFailure({ message }))

  peer.on('message', (message) => {
    if (!isOf<Answered>(message, 'to')) return
    if (message.to === HERE) {
      early?.forEach(send)
      early = undefined
      return
    }
    const one = settle(message.to)
    if (message.failure === undefined) one?.resolve(message.value as never)
    else one?.reject(new PeerFailure(message.failure))
  })
  peer.on('disconnect', () => {
    for (const id of [...waiting.keys()]) fail(id, 'the process is gone')
  })

  function send(message: Asked): void {
    const failed = (): void => fail(message.id, 'the process is gone')
    if (peer.connected === false || peer.send === undefined) failed()
    else peer.send(message, (error) => error !== null && failed())
  }

  return (name, what, withinMs) =>
    new Promise((resolve, reject) => {
      const id = ++asked
      const timer = setTimeout(() => fail(id, `no answer to ${name} in time`), withinMs)
      waiting.set(id, { resolve, reject, timer })
      const message: Asked = { ask: name, id, what }
      if (early === undefined) send(message)
      else early.push(message)
    })
}

/** Answers what the peer asks. Of what a handler throws, only the message, masked, and the code are sent back. */
export function answering<Of extends Protocol>(peer: Peer, handlers: Handlers<Of>): void {
  const answer = (message: Answered): void => {
    // The peer may be gone by now.
    if (peer.connected !== false) peer.send?.(message, () => undefined)
  }
  peer.on('message', (message) => {
    if (!isOf<Asked>(message, 'ask') || !Object.hasOwn(handlers, message.ask)) return
    const { ask, id, what } = message
    Promise.resolve(what)
      .then(handlers[ask] as (what: unknown) => unknown)
      .then(
        (value) => answer({ to: id, value }),
        (error: unknown) => answer({ to: id, failure: failureOf(error) }),
      )
  })
  answer({ to: HERE })
}

function failureOf(error: unknown): NonNullable<Answered['failure']> {
  const { message, code } = error as { readonly message?: unknown; readonly code?: unknown }
  return {
    message: masked(typeof message === 'string' ? message : 'unknown'),
    ...(typeof code === 'string' && { code }),
  }
}

function isOf<Message>(message: unknown, member: keyof Message & string): message is Message {
  return typeof message === 'object' && message !== null && member in message
}

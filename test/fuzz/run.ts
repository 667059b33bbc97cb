import net from 'node:net'
import { startIssuer } from '../issuer.ts'
import { Faults, within, type Finding } from '../judge/load.ts'
import { startNaiveProxy } from '../judge/naive-proxy.ts'
import { random, type Random } from '../judge/random.ts'
import { startRecorder, type Recorded, type Recorder } from '../proxy/upstream.ts'
import { oneRoute, startGateway, type Scope } from '../system.ts'
import {
  GARBAGE,
  SMUGGLED_PATH,
  soundRequest,
  twistedRequest,
  type Credentials,
  type Spoken,
} from './grammar.ts'

export interface FuzzOptions {
  readonly seed: number
  readonly requests: number
}

const CONNECTIONS = 16
/** On one connection, before the one that is twisted. */
const MOST_SOUND = 5
const LONGEST_WAIT_MS = 30_000
const NO_CONTENT = 'HTTP/1.1 204 No Content\r\n\r\n'

/**
 * Requests by a grammar, in bytes, on connections of their own, through the gateway to an upstream that believes nothing
 * but the bytes. What arrives there was sent as a request, arrives once, and is framed in one way; what is sound arrives
 * whole; what only stood in a body never arrives.
 */
export async function fuzzGateway(scope: Scope, options: FuzzOptions): Promise<Finding> {
  const issuer = await startIssuer(scope)
  const token = await issuer.token()
  const recorder = await startRecorder(scope, NO_CONTENT, { raw: false })
  const gateway = await startGateway(
    scope,
    oneRoute({ issuer: issuer.url, upstream: recorder.url }),
  )
  const fuzz = new Fuzz(recorder, Number(new URL(gateway.origin).port), { token })
  return fuzz.run(options, true)
}

/** The same before a proxy that is known to be wrong, with sound requests alone: what is not found there is not found. */
export async function fuzzNaiveProxy(scope: Scope, options: FuzzOptions): Promise<Finding> {
  const recorder = await startRecorder(scope, NO_CONTENT, { raw: false })
  const origin = await startNaiveProxy(scope, recorder.url)
  const fuzz = new Fuzz(recorder, Number(new URL(origin).port), { token: 'none' })
  return fuzz.run(options, false)
}

class Fuzz {
  readonly #recorder: Recorder
  readonly #port: number
  readonly #credentials: Credentials
  readonly #faults = new Faults()
  readonly #twists = new Map<string, { sent: number; arrived: number }>()
  readonly #expected = new Map<string, Spoken>()
  #sent = 0
  #arrived = 0
  #smuggled = 0
  #seed = 0

  constructor(recorder: Recorder, port: number, credentials: Credentials) {
    this.#recorder = recorder
    this.#port = port
    this.#credentials = credentials
  }

  async run({ seed, requests }: FuzzOptions, twisting: boolean): Promise<Finding> {
    this.#seed = seed
    let connections = 0
    const caller = async (): Promise<void> => {
      while (this.#sent < requests) {
        const number = connections++
        await this.#connection(random(seed, number), number, twisting)
      }
    }
    await Promise.all(Array.from({ length: CONNECTIONS }, caller))
    this.#collect()
    for (const one of this.#expected.values()) {
      if (one.sound) this.#faults.add(`${one.method} ${one.path} never arrived (seed ${seed})`)
    }
    const twists = [...this.#twists].sort(([one], [other]) => (one < other ? -1 : 1))
    return {
      counts: {
        seed,
        requests: this.#sent,
        connections,
        arrived: this.#arrived,
        smuggled: this.#smuggled,
        ...Object.fromEntries(
          twists.map(([name, { sent, arrived }]) => [name, `${sent} sent, ${arrived} arrived`]),
        ),
      },
      faults: this.#faults.told,
    }
  }

  /** Sound requests all at once; when they are answered one that is not, and what no reading goes on after. */
  async #connection(chance: Random, number: number, twisting: boolean): Promise<void> {
    const path = (index: number): string => `/orders/${number}-${index}`
    const count = chance.below(MOST_SOUND) + (twisting ? 0 : 1)
    const sound = Array.from({ length: count }, (_, index) =>
      soundRequest(chance, path(index), this.#credentials),
    )
    const twisted = twisting ? [twistedRequest(chance, path(count), this.#credentials)] : []
    for (const one of [...sound, ...twisted]) this.#expect(one)

    const wire = new Wire(this.#port)
    try {
      await wire.send(chance, sound.map(({ bytes }) => bytes).join(''))
      await within(LONGEST_WAIT_MS, `answers on connection ${number}`, wire.answers(count))
      for (const { bytes } of twisted) await wire.send(chance, bytes + GARBAGE)
      if (twisting) {
        await within(LONGEST_WAIT_MS, `the end of connection ${number}`, wire.closed)
      }
    } catch (error) {
      const twist = twisted.map((one) => `, ${one.twist}`).join('')
      this.#faults.add(`${(error as Error).message} (seed ${this.#seed}${twist})`)
    } finally {
      wire.destroy()
    }
    this.#collect()
  }

  #expect(one: Spoken): void {
    this.#sent++
    this.#expected.set(one.path, one)
    const tally = this.#twists.get(one.twist) ?? { sent: 0, arrived: 0 }
    tally.sent++
    this.#twists.set(one.twist, tally)
  }

  #collect(): void {
    for (const received of this.#recorder.requests.splice(0)) this.#judge(received)
  }

  #judge(received: Recorded): void {
    const { method, path, headers, body } = received
    this.#arrived++
    if (path === SMUGGLED_PATH) this.#smuggled++
    const sent = this.#expected.get(path)
    this.#expected.delete(path)
    const what = `${method} ${path} (seed ${this.#seed})`
    if (sent === undefined) {
      this.#faults.add(`${what} arrived, which nobody sent, or not twice`)
      return
    }
    this.#twists.get(sent.twist)!.arrived++
    const frames = headers.filter(([name]) => /^(?:content-length|transfer-encoding)$/.test(name))
    if (frames.length > 1) this.#faults.add(`${what} is framed twice`)
    if (method !== sent.method) this.#faults.add(`${what} was sent as ${sent.method}`)
    if (sent.sound && body !== sent.body) this.#faults.add(`${what} arrived with another body`)
  }
}

/** A caller's connection. */
class Wire {
  readonly closed: Promise<void>
  readonly #socket: net.Socket
  #text = ''
  #isClosed = false
  #changed = (): void => undefined

  constructor(port: number) {
    this.#socket = net.connect(port, '127.0.0.1')
    this.#socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
      this.#changed()
    })
    this.#socket.on('error', () => undefined)
    this.closed = new Promise((resolve) =>
      this.#socket.on('close', () => {
        this.#isClosed = true
        this.#changed()
        resolve()
      }),
    )
  }

  /** Whole, or in pieces that arrive one by one. */
  async send(chance: Random, bytes: string): Promise<void> {
    const pieces = chance.oneIn(4) ? 1 + chance.below(5) : 1
    for (let piece = 0; piece < pieces; piece++) {
      const from = Math.floor((bytes.length * piece) / pieces)
      const to = Math.floor((bytes.length * (piece + 1)) / pieces)
      if (this.#isClosed) return
      this.#socket.write(bytes.slice(from, to), 'latin1')
      if (pieces > 1) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Until so many answers have come. @throws {Error} the connection ended before that */
  async answers(count: number): Promise<void> {
    while ((this.#text.match(/HTTP\/1\.1 [2-5]\d\d /g) ?? []).length < count) {
      if (this.#isClosed) throw new Error(`ended after ${this.#text.slice(-200)}`)
      await new Promise<void>((resolve) => (this.#changed = resolve))
    }
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

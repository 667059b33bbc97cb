/** Bodies of any size that take no memory, known by their digests, and what they leave behind. */
import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import type http2 from 'node:http2'
import type { Readable, Writable } from 'node:stream'

export const MIB = 1_048_576
const PIECE = 65_536
/** The same in every process, and without repetition: a piece that is lost, doubled or moved changes the digest. */
const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(
  Buffer.alloc(4 * MIB),
)

function* pieces(bytes: number): Generator<Buffer> {
  for (let sent = 0; sent < bytes; sent += PIECE) {
    const start = ((sent / PIECE) * 4_099) % (noise.length - PIECE)
    yield noise.subarray(start, start + Math.min(PIECE, bytes - sent))
  }
}

const digests = new Map<number, string>()

/** SHA-256 of the body of this size. */
export function digestOf(bytes: number): string {
  const known = digests.get(bytes)
  if (known !== undefined) return known
  const hash = createHash('sha256')
  for (const piece of pieces(bytes)) hash.update(piece)
  const digest = hash.digest('hex')
  digests.set(bytes, digest)
  return digest
}

/** Sends the body of this size and ends. */
export async function send(to: Writable, bytes: number): Promise<void> {
  for (const piece of pieces(bytes)) if (!to.write(piece)) await once(to, 'drain')
  to.end()
}

/** SHA-256 of a body that arrives. */
export async function received(from: Readable): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of from) hash.update(piece as Buffer)
  return hash.digest('hex')
}

export interface RoundTrip extends Trip {
  readonly origin: string
}

export interface RoundTripByHttp2 extends Trip {
  readonly session: http2.ClientHttp2Session
}

interface Trip {
  /** Sizes in bytes. */
  readonly up: number
  readonly down: number
  /** With Content-Length, up and down. Default: chunked. */
  readonly sized?: boolean
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * One request with a body up and one down, for an upstream of `large-upstream.ts`.
 *
 * @throws {Error} a body did not arrive as it was sent
 */
export async function roundTrip(trip: RoundTrip): Promise<void> {
  const { origin, up, down, sized = false, headers = {} } = trip
  const framing: Record<string, string | number> = sized
    ? { 'content-length': up, 'x-sized': '1' }
    : { 'transfer-encoding': 'chunked' }
  const request = http.request(`${origin}/orders/${down}`, {
    method: 'POST',
    headers: { ...headers, ...framing },
  })
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  await Promise.all([send(request, up), answered])
  const [answer] = await answered
  assertSame(trip, answer.headers['x-received'], await received(answer))
}

/** The same on a stream of its own. @throws {Error} a body did not arrive as it was sent */
export async function roundTripByHttp2(trip: RoundTripByHttp2): Promise<void> {
  const { session, up, down, sized = false, headers = {} } = trip
  const stream = session.request({
    ...{ ':method': 'POST', ':path': `/orders/${down}` },
    ...headers,
    ...(sized && { 'content-length': up, 'x-sized': '1' }),
  })
  const answered = once(stream, 'response') as Promise<[http2.IncomingHttpHeaders]>
  const [digest, [answer]] = await Promise.all([received(stream), answered, send(stream, up)])
  assertSame(trip, answer['x-received'], digest)
}

function assertSame({ up, down }: Trip, arrived: unknown, digest: string): void {
  if (arrived !== digestOf(up)) throw new Error(`${up} bytes did not arrive as sent`)
  if (digest !== digestOf(down)) throw new Error(`${down} bytes did not come back as sent`)
}

/** What this process holds when everything that can be freed has been, in bytes: the least of several looks. */
export async function resident(): Promise<number> {
  let least = Infinity
  for (let round = 0; round < 5; round++) {
    global.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
    least = Math.min(least, process.memoryUsage.rss())
  }
  return least
}

const MOST_ROUNDS = 16

/**
 * What is held once it has stopped growing, in bytes. What V8 and the allocator take for the first bodies they keep, for
 * longer on some versions of Node than on others: that says nothing about what a body leaves behind.
 */
export async function plateau(
  load: () => Promise<unknown>,
  held: () => Promise<number> = resident,
): Promise<number> {
  let most = 0
  let steady = 0
  for (let round = 0; round < MOST_ROUNDS && steady < 3; round++) {
    await load()
    const now = await held()
    steady = now < most + MIB ? steady + 1 : 0
    most = Math.max(most, now)
  }
  return most
}

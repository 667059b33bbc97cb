import http from 'node:http'
import { startIssuer } from '../issuer.ts'
import { dial, startRecorder, type Recorder, type Wire } from '../proxy/upstream.ts'
import { oneRoute, startGateway, type Scope } from '../system.ts'
import { Faults, scoped, within, type Finding, type Load } from './load.ts'
import { startNaiveProxy } from './naive-proxy.ts'

export interface FramingSize {
  readonly methods: readonly string[]
  /** Of the large body, in bytes. */
  readonly large: number
}

export const framing: Load = {
  name: 'framing',
  claim: 'what the upstream receives is what was sent, in number, methods and bodies',
  limitMs: 10 * 60_000,
  judge: (scope) => judgeFraming(scope, { methods: FORWARDED_METHODS, large: 1_048_576 }),
}

/** All that Node reads but the two that ask the gateway itself for something. */
const FORWARDED_METHODS = http.METHODS.filter((method) => !['CONNECT', 'TRACE'].includes(method))

/** Every method in every framing, on new connections, on one connection, and all at once on one connection. */
export async function judgeFraming(scope: Scope, size: FramingSize): Promise<Finding> {
  const issuer = await startIssuer(scope)
  const token = await issuer.token()
  const faults = new Faults()
  let sent = 0
  let received = 0
  for (const method of size.methods) {
    const outcome = await passThrough(
      async (inner, upstream) => {
        const gateway = await startGateway(inner, oneRoute({ issuer: issuer.url, upstream }))
        return gateway.origin
      },
      casesOf(method, size.large, token),
    )
    sent += outcome.sent
    received += outcome.received
    for (const fault of outcome.faults) faults.add(fault)
  }

  const naive = await judgeNaiveProxy(faults)
  const counts = { methods: size.methods.length, sent, received, ...naive }
  return { counts, faults: faults.told }
}

/** The same harness before a proxy that is known to be wrong. What is not found there would not be found in ours. */
async function judgeNaiveProxy(faults: Faults): Promise<Record<string, number>> {
  const found = async (method: string): Promise<Outcome> =>
    passThrough(startNaiveProxy, casesOf(method, SMUGGLED.length * 10, 'none'))
  const framed = await found('POST')
  for (const fault of framed.faults) faults.add(`naive proxy, which frames this: ${fault}`)
  let sent = 0
  let received = 0
  let smuggled = 0
  for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS']) {
    const outcome = await found(method)
    sent += outcome.sent
    received += outcome.received
    smuggled += outcome.smuggled
    if (outcome.smuggled === 0) faults.add(`naive proxy, ${method}: no desynchronisation was found`)
  }
  return {
    'sent through a naive proxy': sent,
    'received behind it': received,
    'of them smuggled': smuggled,
  }
}

const SMUGGLED = 'GET /admin HTTP/1.1\r\nHost: upstream\r\n\r\n'

/** One request as bytes, and what has to arrive of it. */
interface Case {
  readonly name: string
  readonly method: string
  readonly body: string
  /** The bytes, for a path of its own. */
  readonly bytes: (path: string) => string
}

type Framed = (body: string) => string

const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`
const FRAMES: Readonly<Record<string, Framed>> = {
  'Content-Length': (body) => `Content-Length: ${body.length}\r\n\r\n${body}`,
  'one chunk': (body) =>
    `Transfer-Encoding: chunked\r\n\r\n${body === '' ? '' : chunk(body)}0\r\n\r\n`,
  'many chunks': (body) =>
    `Transfer-Encoding: chunked\r\n\r\n${(body.match(/[^]{1,4093}/g) ?? []).map(chunk).join('')}0\r\n\r\n`,
}

function casesOf(method: string, large: number, token: string): readonly Case[] {
  const many = SMUGGLED.repeat(Math.ceil(large / SMUGGLED.length)).slice(0, large)
  const made = (what: string, body: string, framed: Framed): Case => ({
    name: `${method}, ${what}`,
    method,
    body,
    bytes: (path) =>
      `${method} ${path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer ${token}\r\n${framed(body)}`,
  })
  return [
    made('no body', '', () => '\r\n'),
    ...Object.entries(FRAMES).flatMap(([frame, framed]) => [
      made(`${frame}, empty`, '', framed),
      made(`${frame}, a request in the body`, SMUGGLED, framed),
      made(`${frame}, ${large} bytes of requests in the body`, many, framed),
    ]),
  ]
}

interface Outcome {
  readonly sent: number
  /** What the upstream read out of its connections' bytes. */
  readonly received: number
  /** Of them, those that stood in a body. */
  readonly smuggled: number
  readonly faults: readonly string[]
}

/** No answer to this has a body, whatever the method. */
const NO_CONTENT = 'HTTP/1.1 204 No Content\r\n\r\n'
const LONGEST_WAIT_MS = 30_000

/** Sends all cases in all manners through what `front` starts, and compares when nothing can come any more. */
async function passThrough(
  front: (scope: Scope, upstream: string) => Promise<string>,
  cases: readonly Case[],
): Promise<Outcome> {
  return scoped(async (outer) => {
    const recorder = await startRecorder(outer, NO_CONTENT)
    const faults = new Faults()
    const sent = new Map<string, Case>()
    await scoped(async (inner) => {
      const port = Number(new URL(await front(inner, recorder.url)).port)
      const runs = [
        ...cases.map((one) => ({ batch: [one], pipelined: false })),
        { batch: cases, pipelined: false },
        { batch: cases, pipelined: true },
      ]
      for (const { batch, pipelined } of runs) {
        const first = sent.size
        const numbered = batch.map((one, index) => [`/orders/${first + index}`, one] as const)
        for (const [path, one] of numbered) sent.set(path, one)
        await send(await dial(inner, port), numbered, pipelined, faults)
      }
    })
    await within(LONGEST_WAIT_MS, 'the end of the connections', recorder.ended())
    compare(recorder, sent, faults)
    const smuggled = recorder.requests.filter(({ path }) => path === '/admin').length
    return { sent: sent.size, received: recorder.requests.length, smuggled, faults: faults.told }
  })
}

/** On one connection, each after the answer to the one before it, or all at once. */
async function send(
  wire: Wire,
  numbered: readonly (readonly [path: string, one: Case])[],
  pipelined: boolean,
  faults: Faults,
): Promise<void> {
  let expected = 0
  for (const [path, { name, bytes }] of numbered) {
    wire.socket.write(bytes(path), 'latin1')
    expected++
    if (pipelined) continue
    await answers(wire, expected, name)
  }
  const statuses = await answers(wire, expected, `${numbered[0]?.[1].method}, all at once`)
  const all = Array.from({ length: expected }, () => '204').join(' ')
  faults.unless(
    statuses.join(' '),
    all,
    `the answers to ${numbered.map(([, { name }]) => name).join('; ')}`,
  )
  wire.socket.destroy()
}

/** The statuses that came, also behind a body that ends without a line end, when there are so many or the connection has ended. */
async function answers(wire: Wire, count: number, what: string): Promise<readonly string[]> {
  let ended = false
  void wire.closed.then(() => (ended = true))
  const statuses = (): readonly string[] =>
    Array.from(wire.text().matchAll(/HTTP\/1\.1 (\d{3}) /g), ([, status]) => status!)
  while (statuses().length < count && !ended) {
    const more = new Promise<void>((resolve) => wire.socket.once('data', () => resolve()))
    await within(LONGEST_WAIT_MS, `the answer to ${what}`, Promise.race([more, wire.closed]))
  }
  return statuses()
}

function compare(recorder: Recorder, sent: ReadonlyMap<string, Case>, faults: Faults): void {
  const missing = new Map(sent)
  for (const { method, path, body } of recorder.requests) {
    const one = missing.get(path)
    missing.delete(path)
    if (one === undefined) {
      faults.add(`the upstream received ${method} ${path}, which nobody sent, or not twice`)
      continue
    }
    faults.unless(method, one.method, `the method of ${one.name}`)
    if (body !== one.body) faults.add(`${one.name}: ${body.length} bytes arrived, or other ones`)
  }
  for (const { name } of missing.values()) faults.add(`the upstream never received ${name}`)
  faults.unless(recorder.leftOver(), 0, 'bytes at the upstream that no request accounts for')
}

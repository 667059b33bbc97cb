import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { MIB, plateau } from '../proxy/bodies.ts'
import { openWebSocket, startWebSockets, TEXT } from '../proxy/websocket.ts'
import type { Scope } from '../system.ts'
import { type GatewayProcess, startGatewayProcess } from './gateway-process.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { startTenant } from './setting.ts'

const MOST_GROWTH = 32 * MIB
/** How many are on their way at once. */
const WINDOW = 64

export interface MessagesSize {
  /** Over a WebSocket. */
  readonly frames: number
  /** Within one gRPC-like call, and calls of one message each. */
  readonly messages: number
  readonly calls: number
}

/** The gateway in a process of its own; both ends, and the tenant, in this one. */
export const messages: Load = {
  name: 'messages',
  claim:
    '10^5 WebSocket frames, a long HTTP/2 stream and many calls come back as sent, in flat memory',
  limitMs: 10 * 60_000,
  judge: (scope) => judgeMessages(scope, { frames: 100_000, messages: 50_000, calls: 10_000 }),
}

export async function judgeMessages(scope: Scope, size: MessagesSize): Promise<Finding> {
  const faults = new Faults()
  const counts: Record<string, string | number> = {}
  const tenant = await startTenant(scope)
  const token = await tenant.newToken('user-1')
  const judged = async (name: string, gateway: GatewayProcess, echo: Echo, count: number) => {
    const resident = async (): Promise<number> => (await gateway.memory()).resident
    // Some of it first: what a process needs to do it at all.
    const before = await plateau(() => echo(Math.ceil(count / 10)), resident)
    const startedAt = performance.now()
    const same = await echo(count)
    const seconds = (performance.now() - startedAt) / 1_000
    const growth = (await resident()) - before
    counts[name] =
      `${count}, ${Math.round(count / seconds)}/s, ${(growth / MIB).toFixed(1)} MiB more`
    if (!same) faults.add(`${name}: what came back is not what was sent`)
    if (growth >= MOST_GROWTH) faults.add(`${name}: ${(growth / MIB).toFixed(1)} MiB more`)
  }

  const sockets = await startGatewayProcess(scope, tenant, {
    upstream: (await startWebSockets(scope)).origin,
    proxy: { websocket: {} },
  })
  const webSocket = await webSocketEcho(scope, sockets.origin, token)
  await judged('WebSocket frames', sockets, webSocket, size.frames)
  if (NO_OPENSSL !== false)
    return { counts: { ...counts, 'HTTP/2': NO_OPENSSL }, faults: faults.told }

  const authority = createAuthority()
  const { certificate, key } = authority.issue('gateway')
  const upstream = await startEcho(scope)
  const streams = await startGatewayProcess(scope, tenant, {
    upstream,
    proxy: { http2: true },
    tls: { certificate, key },
  })
  const session = http2.connect(streams.origin, { ca: authority.certificate })
  scope.after(() => session.destroy())
  const call = (): http2.ClientHttp2Stream =>
    session.request({
      ...{ ':method': 'POST', ':path': '/orders', te: 'trailers' },
      authorization: `Bearer ${token}`,
    })
  await judged('messages of one stream', streams, streamEcho(call), size.messages)
  await judged('calls', streams, callEcho(call), size.calls)
  return { counts, faults: faults.told }
}

/** Sends so many, and tells whether the same came back. */
type Echo = (count: number) => Promise<boolean>

const textOf = (index: number): string => `${index}:`.padEnd(index % 1_000, 'x')

async function webSocketEcho(scope: Scope, origin: string, token: string): Promise<Echo> {
  const caller = await openWebSocket(scope, origin, { token })
  if (caller.status !== 101) throw new Error(caller.head)
  return async (count) => {
    let same = true
    for (let sent = 0, got = 0; got < count; got++) {
      while (sent < count && sent - got < WINDOW) caller.send(TEXT, textOf(sent++))
      same &&= (await caller.next()).payload.toString() === textOf(got)
    }
    return same
  }
}

function streamEcho(call: () => http2.ClientHttp2Stream): Echo {
  return async (count) => {
    const stream = call()
    const [sent, got] = [createHash('sha256'), createHash('sha256')]
    stream.on('data', (piece: Buffer) => got.update(piece))
    for (let index = 0; index < count; index++) {
      const text = textOf(index)
      sent.update(text)
      if (!stream.write(text)) await once(stream, 'drain')
    }
    stream.end()
    const [trailers] = (await once(stream, 'trailers')) as [http2.IncomingHttpHeaders]
    return trailers['grpc-status'] === '0' && sent.digest('hex') === got.digest('hex')
  }
}

function callEcho(call: () => http2.ClientHttp2Stream): Echo {
  return async (count) => {
    let next = 0
    let same = true
    const caller = async (): Promise<void> => {
      while (next < count) {
        const text = textOf(next++)
        const stream = call()
        stream.end(text)
        same &&= (await stream.setEncoding('utf8').toArray()).join('') === text
      }
    }
    await Promise.all(Array.from({ length: WINDOW }, caller))
    return same
  }
}

/** Speaks HTTP/2 in the clear. */
async function startEcho(scope: Scope): Promise<string> {
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => undefined)
    stream.respond({ ':status': 200 }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.pipe(stream)
  })
  const sessions = new Set<http2.Http2Session>()
  server.on('session', (session) => sessions.add(session))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  scope.after(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

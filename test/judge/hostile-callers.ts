/** A wave of callers that mean no good, in a process of its own. Tells its parent what they met when the last is gone. */
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { random } from './random.ts'

export interface Wave {
  readonly port: number
  readonly token: string
  /** They send a half of their body, and are gone: some with a word, some without. */
  readonly vanishing: number
  /** They send a byte of a header now and then, and never the end, until they are told to go. */
  readonly slow: number
  /** Over which they come, in milliseconds. */
  readonly forMs: number
  readonly seed: number
}

export interface Met {
  readonly vanished: number
  /** Of the slow ones: their connection was ended. */
  readonly ended: number
  /** And they have read 408: who sends on while it comes may not see it. */
  readonly timedOut: number
  /** Could not connect. */
  readonly failed: number
}

/** Longer than a header section may take, and the listener needs to notice. */
const PATIENCE_MS = 20_000
const BODY_BYTES = 100_000

const wave = JSON.parse(process.argv[2] ?? '') as Wave
const { below, oneIn } = random(wave.seed, 0)
const met = { vanished: 0, ended: 0, timedOut: 0, failed: 0 }

async function dial(): Promise<Socket | undefined> {
  await sleep(below(wave.forMs))
  const socket = net.connect(wave.port, '127.0.0.1')
  socket.on('error', () => undefined)
  try {
    await once(socket, 'connect')
    return socket
  } catch {
    met.failed++
    return undefined
  }
}

async function vanish(): Promise<void> {
  const socket = await dial()
  if (socket === undefined) return
  const head = `POST /orders/10 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${wave.token}\r\n`
  const framed = oneIn(2) ? `Content-Length: ${BODY_BYTES}\r\n\r\n` : CHUNKED
  socket.write(head + framed)
  socket.write(Buffer.alloc(below(BODY_BYTES / 2), 'x'))
  await sleep(below(500))
  if (oneIn(2)) socket.destroy()
  else socket.resetAndDestroy()
  met.vanished++
}

const CHUNKED = `Transfer-Encoding: chunked\r\n\r\n${BODY_BYTES.toString(16)}\r\n`

async function dawdle(): Promise<void> {
  const socket = await dial()
  if (socket === undefined) return
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  socket.write('GET /orders/10 HTTP/1.1\r\nHost: h\r\nX-Slow: ')
  const until = Date.now() + PATIENCE_MS
  while (!socket.destroyed && Date.now() < until) {
    socket.write('x')
    await sleep(1_000)
  }
  if (socket.destroyed) met.ended++
  if (text.startsWith('HTTP/1.1 408 ')) met.timedOut++
  socket.destroy()
}

await Promise.all([
  ...Array.from({ length: wave.vanishing }, vanish),
  ...Array.from({ length: wave.slow }, dawdle),
])
process.send?.(met satisfies Met)
process.disconnect()

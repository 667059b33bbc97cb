import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { dial, listen, startProxy } from './upstream.ts'

interface Traced {
  readonly name: string
  readonly frames: number
}

/** What is told of every error whose stack somebody asks for. */
function traced(t: TestContext): readonly Traced[] {
  const told: Traced[] = []
  const { prepareStackTrace } = Error
  Error.prepareStackTrace = (error, frames) => {
    told.push({ name: error.name, frames: frames.length })
    return String(error)
  }
  t.after(() => (Error.prepareStackTrace = prepareStackTrace))
  return told
}

/** Takes requests and never answers. */
async function startSilent(
  t: TestContext,
): Promise<{ readonly url: string; readonly came: Promise<Socket> }> {
  const server = net.createServer((socket) => socket.on('error', () => undefined))
  const came = once(server, 'connection').then(([socket]) => socket as Socket)
  return { url: `http://127.0.0.1:${await listen(t, server)}`, came }
}

const HALF = 'POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf'

test('a caller that vanishes mid-body ends its request at the upstream, and nobody walks a stack for that', async (t) => {
  const upstream = await startSilent(t)
  const proxy = await startProxy(t, upstream.url)
  const wire = await dial(t, proxy.port)
  wire.socket.write(HALF)
  const socket = await upstream.came
  let text = ''
  while (!text.endsWith('half')) text += String((await once(socket, 'data'))[0])
  const told = traced(t)
  const framesOf = (of: string): readonly number[] =>
    told.flatMap(({ name, frames }) => (name === of ? [frames] : []))
  const closed = once(socket, 'close')
  wire.socket.destroy()
  await closed
  await proxy.settled(1)
  assert.deepEqual(proxy.outcomes, ['gone'])
  // undici ends the connection with an error, and some versions of Node ask what they destroy a stream with for its stack.
  assert.ok(framesOf('InformationalError').every((frames) => frames === 0))
  assert.ok((proxy.failures[0] as Error).stack)
  assert.deepEqual(framesOf('CallerGone'), [0])
})

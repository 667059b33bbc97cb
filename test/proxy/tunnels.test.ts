import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { Frames } from '../../src/proxy/frames.ts'
import { createTunnels, type TunnelOptions, type Tunnels } from '../../src/proxy/tunnels.ts'
import { listen } from './upstream.ts'
import { CLOSE, frame, framesOf, statusOf, TEXT } from './websocket.ts'

/** Two ends of one connection. */
async function pair(t: TestContext): Promise<[Socket, Socket]> {
  const server = net.createServer({ allowHalfOpen: true })
  const port = await listen(t, server)
  const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [far] = (await once(server, 'connection')) as [Socket]
  for (const socket of [near, far]) {
    socket.on('error', () => undefined)
    t.after(() => socket.destroy())
  }
  return [near, far]
}

interface Ends {
  readonly client: Socket
  readonly service: Socket
  /** What each got. */
  atClient(): Buffer
  atService(): Buffer
  readonly ended: Promise<void>
  readonly tunnels: Tunnels
}

async function joined(t: TestContext, options: Partial<TunnelOptions> = {}): Promise<Ends> {
  const [client, caller] = await pair(t)
  const [upstream, service] = await pair(t)
  const tunnels = createTunnels()
  const ended = new Promise<void>((resolve) => {
    const usual = { idleMs: 60_000, until: undefined, ended: resolve }
    tunnels.open({ caller, upstream, ...usual, ...options })
  })
  const [atClient, atService] = [collect(client), collect(service)]
  return { client, service, atClient, atService, ended, tunnels }
}

function collect(socket: Socket): () => Buffer {
  const pieces: Buffer[] = []
  socket.on('data', (piece: Buffer) => pieces.push(piece))
  return () => Buffer.concat(pieces)
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

test('the places between frames are found, however the bytes are cut', () => {
  const frames = fc.array(
    fc.record({
      opcode: fc.constantFrom(0, 1, 2, 9, 10),
      length: fc.oneof(fc.nat(300), fc.constantFrom(125, 126, 127, 65_535, 65_536)),
      masked: fc.boolean(),
    }),
    { maxLength: 6 },
  )
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 40_000 })), (given, cuts) => {
      const bytes = Buffer.concat(
        given.map(({ opcode, length, masked }) => frame(opcode, Buffer.alloc(length, 7), masked)),
      )
      const followed = new Frames()
      let at = 0
      for (const cut of [...cuts, bytes.length]) {
        const piece = bytes.subarray(at, at + cut)
        assert.equal(followed.follow(piece), piece.length)
        at += piece.length
        assert.equal(followed.isBetween, framesOf(bytes.subarray(0, at)).rest.length === 0)
      }
    }),
    { numRuns: 200 },
  )
})

test('asked to stop, it passes what is left of one frame and no more', () => {
  const [first, second] = [frame(TEXT, 'x'.repeat(200), true), frame(TEXT, 'y', true)]
  const frames = new Frames()
  frames.follow(first.subarray(0, 3))
  assert.equal(frames.follow(Buffer.concat([first.subarray(3), second]), true), first.length - 3)
})

test('behind a last frame there is no place for another', () => {
  const frames = new Frames()
  frames.follow(frame(CLOSE, Buffer.from([3, 232]), false))
  assert.equal(frames.isBetween, false)
})

test('who leaves says so to both sides, masked where that is the server', async (t) => {
  const { client, service, atClient, atService, ended, tunnels } = await joined(t)
  client.on('end', () => client.end())
  service.on('end', () => service.end())
  const left = tunnels.leave()
  await ended
  await left
  const [toClient] = framesOf(atClient()).frames
  const [toService] = framesOf(atService()).frames
  assert.deepEqual([toClient!.masked, statusOf(toClient!)], [false, 1001])
  assert.deepEqual([toService!.masked, statusOf(toService!)], [true, 1001])
  assert.equal(tunnels.size, 0)
})

test('a frame that has begun is finished before the last one, and what follows it is dropped', async (t) => {
  const { service, atClient, ended, tunnels, client } = await joined(t)
  client.on('end', () => client.end())
  const message = frame(TEXT, 'x'.repeat(1_000), false)
  service.write(message.subarray(0, 500))
  await until(() => atClient().length === 500)
  void tunnels.leave()
  service.write(Buffer.concat([message.subarray(500), frame(TEXT, 'too late', false)]))
  service.end()
  await ended
  const { frames, rest } = framesOf(atClient())
  assert.deepEqual(
    frames.map(({ opcode, payload }) => [opcode, payload.length]),
    [
      [TEXT, 1_000],
      [CLOSE, frames[1]!.payload.length],
    ],
  )
  assert.equal(rest.length, 0)
})

test('nothing is added behind a last frame of a side', async (t) => {
  const { client, service, atClient, ended, tunnels } = await joined(t)
  service.write(frame(CLOSE, Buffer.from([0x0f, 0xa0]), false))
  await until(() => atClient().length === 4)
  void tunnels.leave()
  service.end()
  client.end()
  await ended
  assert.deepEqual(framesOf(atClient()).frames.map(statusOf), [4000])
})

test('sides that do not answer are cut off after five seconds', async (t) => {
  const { client, service, atClient, ended, tunnels } = await joined(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  void tunnels.leave()
  await until(() => atClient().length > 0)
  let over = false
  void ended.then(() => (over = true))
  t.mock.timers.tick(4_999)
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(over, false)
  t.mock.timers.tick(1)
  await ended
  client.destroy()
  service.destroy()
})

test('after the end of one side the other has five seconds', async (t) => {
  const { client, service, ended } = await joined(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const told = once(service, 'end')
  client.end()
  await told
  t.mock.timers.tick(5_000)
  await ended
})

test('a time to end that is further away than a timer can wait is waited for all the same', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  const far = 40 * 86_400_000
  const { client, service, atClient, ended } = await joined(t, { until: Date.now() + far })
  t.mock.timers.tick(2 ** 31 - 1)
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(atClient().length, 0)
  client.on('end', () => client.end())
  service.on('end', () => service.end())
  t.mock.timers.tick(far - (2 ** 31 - 1))
  await ended
  assert.deepEqual(framesOf(atClient()).frames.map(statusOf), [1008])
})

test('what opens while we leave ends at once', async (t) => {
  const { client, tunnels, ended, service } = await joined(t)
  client.destroy()
  service.destroy()
  await ended
  await tunnels.leave()
  const [far, caller] = await pair(t)
  const [upstream] = await pair(t)
  const atFar = collect(far)
  tunnels.open({ caller, upstream, idleMs: 60_000, until: undefined, ended: () => undefined })
  await until(() => atFar().length > 0)
  assert.deepEqual(framesOf(atFar()).frames.map(statusOf), [1001])
})

test('a connection that closed before it was joined takes the other with it', async (t) => {
  const [, caller] = await pair(t)
  const [upstream, service] = await pair(t)
  caller.destroy()
  await once(caller, 'close')
  const told = once(service, 'end')
  service.resume()
  const tunnels = createTunnels()
  await new Promise<void>((ended) =>
    tunnels.open({ caller, upstream, idleMs: 60_000, until: undefined, ended }),
  )
  await told
  assert.equal(tunnels.size, 0)
})

test('a slow reader holds the other side back', async (t) => {
  const { client, service } = await joined(t)
  client.pause()
  const piece = frame(TEXT, 'x'.repeat(65_526), false)
  let sent = 0
  const total = 64 * 1_048_576
  const more = (): void => {
    while (sent < total) {
      sent += piece.length
      if (!service.write(piece)) return
    }
  }
  service.on('drain', more)
  more()
  let before = -1
  for (let round = 0; round < 100 && before !== sent; round++) {
    before = sent
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(sent < total / 2, `${sent} bytes were taken`)
  let got = 0
  client.on('data', (bytes: Buffer) => (got += bytes.length))
  client.resume()
  await until(() => got >= total)
})

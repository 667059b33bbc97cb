import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { buildConnector, errors, type Dispatcher } from 'undici'
import { Http1Connections } from '../../src/proxy/http1-connections.ts'
import { listen } from './upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'

interface Upstream {
  readonly connections: Http1Connections
  /** In the order in which they came. */
  readonly sockets: Socket[]
  /** The connection that each request came over, by its place among them; a request is answered when it is let go. */
  readonly asked: { readonly over: number; answer(): void }[]
  /** Waits until that many requests have come. */
  came(count: number): Promise<void>
}

interface StartOptions {
  readonly longestUseMs?: number
  /** Why a connection does not come about. */
  readonly failing?: () => Error | undefined
}

async function start(t: TestContext, options: StartOptions = {}): Promise<Upstream> {
  const { longestUseMs = 60_000, failing } = options
  const sockets: Socket[] = []
  const asked: Upstream['asked'] = []
  let told = (): void => undefined
  const server = net.createServer((socket) => {
    const over = sockets.push(socket) - 1
    socket.on('error', () => undefined)
    socket.on('data', () => {
      asked.push({ over, answer: () => void socket.write(OK) })
      told()
    })
  })
  const port = await listen(t, server)
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  const connector = buildConnector({ timeout: 2_000, allowH2: false })
  const connections = new Http1Connections(`http://127.0.0.1:${port}`, {
    longestUseMs,
    connect(target, callback) {
      const failure = failing?.()
      if (failure === undefined) connector(target, callback)
      else callback(failure, null)
    },
  })
  const came = async (count: number): Promise<void> => {
    while (asked.length < count) await new Promise<void>((resolve) => (told = resolve))
  }
  return { connections, sockets, asked, came }
}

function ask(connections: Http1Connections, path = '/'): Promise<'answered' | Error> {
  return new Promise((resolve) => {
    const handler: Dispatcher.DispatchHandler = {
      onConnect: () => undefined,
      onHeaders: () => true,
      onData: () => true,
      onComplete: () => resolve('answered'),
      onError: resolve,
    }
    connections.dispatch({ path, method: 'GET' }, handler)
  })
}

/** Asks, and waits until the connection has rested: undici lets go of it a turn after the answer. */
async function answered({ connections, asked, came }: Upstream): Promise<number> {
  const count = asked.length + 1
  const answer = ask(connections)
  await came(count)
  asked.at(-1)!.answer()
  assert.equal(await answer, 'answered')
  await turn()
  return asked.at(-1)!.over
}

test('a connection that has answered takes the next request', async (t) => {
  const upstream = await start(t)
  assert.deepEqual([await answered(upstream), await answered(upstream)], [0, 0])
})

test('a request never waits for another one: those at the same time have connections of their own', async (t) => {
  const upstream = await start(t)
  const { connections, asked, came } = upstream
  const answers = [ask(connections), ask(connections), ask(connections)]
  await came(3)
  assert.deepEqual(new Set(asked.map(({ over }) => over)), new Set([0, 1, 2]))
  for (const { answer } of asked) answer()
  assert.deepEqual(await Promise.all(answers), ['answered', 'answered', 'answered'])
})

test('who was idle last is taken first, so that what a peak has left comes to its end', async (t) => {
  const upstream = await start(t)
  const { connections, asked, came } = upstream
  const answers = [ask(connections), ask(connections)]
  await came(2)
  const [first, second] = asked
  for (const one of [second!, first!]) {
    one.answer()
    await Promise.race(answers)
    await turn()
  }
  await Promise.all(answers)
  await turn()
  const over = first!.over
  assert.deepEqual([await answered(upstream), await answered(upstream)], [over, over])
})

test('a connection that ended while it was idle is not used again, and the others are', async (t) => {
  const upstream = await start(t)
  const { connections, sockets, asked, came } = upstream
  const answers = [ask(connections), ask(connections), ask(connections)]
  await came(3)
  for (const { answer } of asked) answer()
  await Promise.all(answers)
  await turn()
  const gone = once(sockets[0]!, 'close')
  sockets[0]!.end()
  // It closes its side when it has seen that ours is closed.
  await gone
  const later = [ask(connections), ask(connections)]
  await came(5)
  const used = asked.slice(3)
  for (const { answer } of used) answer()
  assert.deepEqual(await Promise.all(later), ['answered', 'answered'])
  assert.deepEqual(new Set(used.map(({ over }) => over)), new Set([1, 2]))
  assert.equal(sockets.length, 3)
})

test('what is as old as connections get is closed instead of taken', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  const upstream = await start(t, { longestUseMs: 60_000 })
  assert.equal(await answered(upstream), 0)
  t.mock.timers.tick(60_000)
  assert.equal(await answered(upstream), 0)
  const closed = once(upstream.sockets[0]!, 'close')
  t.mock.timers.tick(1)
  assert.equal(await answered(upstream), 1)
  await closed
})

test('an upstream that cannot be reached fails each request by itself, and serves the next when it is back', async (t) => {
  const failure = new Error('nobody there')
  let reachable = false
  const upstream = await start(t, { failing: () => (reachable ? undefined : failure) })
  const { connections } = upstream
  assert.deepEqual(await Promise.all([ask(connections), ask(connections)]), [failure, failure])
  reachable = true
  const answer = ask(connections)
  await upstream.came(1)
  upstream.asked[0]!.answer()
  assert.equal(await answer, 'answered')
  assert.equal(upstream.sockets.length, 1)
})

test('a request that undici would not begin with is told so', async (t) => {
  const upstream = await start(t)
  assert.ok((await ask(upstream.connections, 'no path')) instanceof errors.InvalidArgumentError)
  await upstream.connections.close()
  assert.equal(upstream.sockets.length, 0)
})

test('closing waits for what is under way, and refuses what comes later', async (t) => {
  const upstream = await start(t)
  const { connections, asked, came } = upstream
  const first = ask(connections)
  await came(1)
  let closed = false
  const closing = connections.close().then(() => (closed = true))
  assert.ok((await ask(connections)) instanceof errors.ClientClosedError)
  await turn()
  assert.equal(closed, false)
  asked[0]!.answer()
  assert.equal(await first, 'answered')
  await closing
})

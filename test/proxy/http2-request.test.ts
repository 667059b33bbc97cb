import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import type { Dispatcher } from 'undici'
import { Http2Request } from '../../src/proxy/http2-request.ts'

async function session(t: TestContext): Promise<http2.ClientHttp2Session> {
  const server = http2.createServer((_request, response) => void response.end('body'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const connected = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.after(() => {
    connected.destroy()
    server.close()
  })
  return connected
}

/** What a handler is told, in order; it throws where it is told `throwing`. */
function ask(connected: http2.ClientHttp2Session, throwing?: string): Promise<string[]> {
  const told: string[] = []
  const say = (what: string): void => {
    told.push(what)
    if (what === throwing) throw new Error('thrown')
  }
  return new Promise((resolve) => {
    const handler: Dispatcher.DispatchHandler = {
      onConnect: () => say('connect'),
      onHeaders: () => {
        say('headers')
        return true
      },
      onData: () => {
        say('data')
        return true
      },
      onComplete: () => {
        say('complete')
        resolve(told)
      },
      onError: (error) => {
        told.push(error.message)
        resolve(told)
      },
    }
    const usual = { begun: () => undefined, failed: () => undefined, over: () => undefined }
    const options = { handler, body: null, timeoutMs: 10_000, ...usual }
    new Http2Request(connected, { ':path': '/', ':method': 'GET' }, options)
  })
}

test('what a handler throws fails its own request, and the connection goes on', async (t) => {
  const connected = await session(t)
  assert.deepEqual(await ask(connected, 'headers'), ['connect', 'headers', 'thrown'])
  assert.deepEqual(await ask(connected, 'data'), ['connect', 'headers', 'data', 'thrown'])
  assert.deepEqual(await ask(connected), ['connect', 'headers', 'data', 'complete'])
})

test('a request on a connection that has ended fails, without a word of an answer', async (t) => {
  const connected = await session(t)
  await ask(connected)
  connected.destroy()
  // Node 20 throws at once, Node 24 tells the stream.
  const told = await ask(connected).catch((error: Error) => ['connect', error.message])
  assert.deepEqual(told.slice(0, -1), ['connect'])
  assert.match(told.at(-1) ?? '', /session has been destroyed/)
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startIssuer } from '../issuer.ts'
import { bearer, listen, oneRoute, startGateway } from '../system.ts'

/** A gateway before an upstream that hands out what it has to answer with. */
async function world(t: TestContext, proxy: object = {}) {
  const issuer = await startIssuer(t)
  const answers: http.ServerResponse[] = []
  const server = http.createServer((_request, response) => {
    answers.push(response)
    server.emit('asked')
  })
  const upstream = await listen(t, server)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream, proxy }))
  const { port } = new URL(gateway.origin)
  const options = { port, path: '/orders', agent: false, ...bearer(await issuer.token()) }
  return {
    gateway,
    ask: () => http.get(options),
    answer: async () => {
      if (answers.length === 0) await once(server, 'asked')
      return answers.shift()!
    },
  }
}

test('each server-sent event arrives before the next one is sent', async (t) => {
  const { ask, answer } = await world(t)
  const request = ask()
  const upstream = await answer()
  upstream.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  upstream.flushHeaders()
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  assert.equal(response.headers['content-type'], 'text/event-stream')
  assert.equal(response.headers['content-length'], undefined)
  for (let index = 0; index < 50; index++) {
    upstream.write(`id: ${index}\ndata: ${'x'.repeat(index)}\n\n`)
    const [piece] = (await once(response, 'data')) as [Buffer]
    assert.equal(piece.toString(), `id: ${index}\ndata: ${'x'.repeat(index)}\n\n`)
  }
  upstream.end()
  await once(response, 'end')
})

test('events keep an answer going for longer than the timeout, which is for silence', async (t) => {
  const { ask, answer } = await world(t, { timeout: '2s' })
  const request = ask()
  const upstream = await answer()
  upstream.writeHead(200, { 'content-type': 'text/event-stream' })
  const beats = setInterval(() => upstream.write(':\n\n'), 100)
  t.after(() => clearInterval(beats))
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  await sleep(3_500)
  assert.equal(response.destroyed, false)
  clearInterval(beats)
  // undici looks at the clock about once a second.
  await once(response, 'error')
})

test('a long poll is answered when there is something to tell, and its caller may leave before', async (t) => {
  const { ask, answer, gateway } = await world(t)
  const patient = ask()
  const first = await answer()
  await sleep(500)
  first.end('news')
  const [response] = (await once(patient, 'response')) as [http.IncomingMessage]
  assert.equal(String((await response.toArray()).join('')), 'news')

  const gone = ask().on('error', () => undefined)
  const second = await answer()
  gone.destroy()
  await once(second, 'close')
  while (!gateway.logged().includes('"caller_gone"')) await sleep(10)
})

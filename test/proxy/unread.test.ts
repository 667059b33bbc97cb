/** Callers that ask and ask, and read nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dial, LIMITS, startHttp, startProxy } from './upstream.ts'

const bounded = { timeout: 60_000 }

for (const [what, head] of [
  ['with its length', { 'content-length': 8_000 }],
  ['in chunks', {}],
] as const) {
  test(
    `small answers ${what} that nobody reads are given up, with their connection`,
    bounded,
    async (t) => {
      const url = await startHttp(t, (_request, response) => {
        response.writeHead(200, head).end('x'.repeat(8_000))
      })
      const limits = { ...LIMITS, idleMs: 500 }
      const { port, outcomes, settled } = await startProxy(t, url, { proxy: { limits } })
      const wire = await dial(t, port)
      wire.socket.pause()
      const one = 'GET /orders HTTP/1.1\r\nHost: h\r\n\r\n'
      // As long as the machine takes answers in place of the caller.
      let sent = 0
      const more = (): void => {
        if (wire.socket.destroyed) return
        for (let count = 0; count < 50; count++, sent++) wire.socket.write(one)
      }
      more()
      while (!outcomes.includes('gone')) {
        await settled(outcomes.length + 1)
        if (outcomes.length >= sent && sent < 5_000) more()
      }
      wire.socket.resume()
      await wire.closed
      assert.ok(outcomes.every((outcome) => outcome === 'answered' || outcome === 'gone'))

      // Who reads is answered, however often.
      const fair = await startProxy(t, url, { proxy: { limits } })
      const other = await dial(t, fair.port)
      other.socket.write(one.repeat(20))
      await fair.settled(20)
      assert.deepEqual(new Set(fair.outcomes), new Set(['answered']))
    },
  )
}

test('an answer may take longer than the one before it had to be read', bounded, async (t) => {
  const waits: Readonly<Record<string, number>> = { '/first': 300, '/second': 0, '/third': 2_000 }
  const url = await startHttp(t, ({ url: path = '' }, response) => {
    setTimeout(() => response.end(`${path} has come`), waits[path])
  })
  const limits = { ...LIMITS, idleMs: 500 }
  const { port } = await startProxy(t, url, { proxy: { limits } })
  const wire = await dial(t, port)
  // The second one is there before its turn, and waits for the first to be read.
  const paths = Object.keys(waits)
  wire.socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`).join(''))
  await wire.until(/\/third has come/)
})

import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { createOutbound, type Outbound, type OutboundOptions } from '../src/outbound.ts'
import { listen } from './support.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

async function asking(
  t: TestContext,
  handler: Handler,
  options: OutboundOptions = {},
): Promise<{ outbound: Outbound; origin: string }> {
  const outbound = createOutbound(options)
  const origin = await listen(t, handler)
  t.after(() => outbound.close())
  return { outbound, origin }
}

/** Fails after a time that no working limit takes, so that a missing limit is a failure and not a hang. */
async function limited<Value>(work: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no limit held')), 20_000)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

test('what is asked and answered arrives whole', async (t) => {
  const { outbound, origin } = await asking(t, (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      const { method, url, headers } = request
      response.writeHead(201, { 'x-twice': ['a', 'b'] })
      response.end(JSON.stringify({ method, url, type: headers['content-type'], body }))
    })
  })
  const answer = await outbound.fetch(`${origin}/token?x=1`, {
    method: 'POST',
    headers: { 'Content-Type': 'text/plain' },
    body: 'ä=1',
  })
  assert.equal(answer.status, 201)
  assert.equal(answer.headers.get('x-twice'), 'a, b')
  const expected = { method: 'POST', url: '/token?x=1', type: 'text/plain', body: 'ä=1' }
  assert.deepEqual(await answer.json(), expected)
})

test('requests one after the other keep their connections', async (t) => {
  const ports = new Set<number | undefined>()
  const { outbound, origin } = await asking(t, ({ socket }, response) => {
    ports.add(socket.remotePort)
    response.end('{}')
  })
  for (let count = 0; count < 50; count++) await outbound.fetch(origin)
  // undici may open a second one while it still tidies up after an answer.
  assert.ok(ports.size <= 3, `${ports.size} connections`)
})

for (const status of [301, 302, 303, 307, 308]) {
  test(`a redirect ${status} is an answer, and is not followed`, async (t) => {
    const asked: (string | undefined)[] = []
    const { outbound, origin } = await asking(t, ({ url }, response) => {
      asked.push(url)
      response.writeHead(status, { location: '/elsewhere' }).end()
    })
    assert.equal((await outbound.fetch(`${origin}/here`)).status, status)
    assert.deepEqual(asked, ['/here'])
  })
}

for (const status of [204, 205, 304]) {
  test(`an answer ${status} has no body`, async (t) => {
    const { outbound, origin } = await asking(t, (_, response) => response.writeHead(status).end())
    const answer = await outbound.fetch(origin)
    assert.equal(answer.status, status)
    assert.equal(await answer.text(), '')
  })
}

const LIMIT = 64 * 1_024
for (const [name, send] of [
  ['declares', (response, bytes) => response.setHeader('content-length', bytes)],
  ['does not declare', () => undefined],
] as const satisfies readonly [string, (response: ServerResponse, bytes: number) => unknown][]) {
  test(`an answer that ${name} its length is read up to the limit`, async (t) => {
    const { outbound, origin } = await asking(
      t,
      ({ url }, response) => {
        const bytes = Number(url!.slice(1))
        send(response, bytes)
        response.end(Buffer.alloc(bytes, 'x'))
      },
      { maxBytes: LIMIT },
    )
    const answer = await outbound.fetch(`${origin}/${LIMIT}`)
    assert.equal((await answer.arrayBuffer()).byteLength, LIMIT)
    await assert.rejects(limited(outbound.fetch(`${origin}/${LIMIT + 1}`)), Error)
  })
}

test('an answer without an end is given up at the limit', async (t) => {
  const { outbound, origin } = await asking(
    t,
    (_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384, 'x')));
      }
      response.on('drain', more)
      more()
    },
    { maxBytes: LIMIT },
  )
  await assert.rejects(limited(outbound.fetch(origin)), Error)
})

test('a coded answer is not decoded: what counts is what was sent', async (t) => {
  const bomb = gzipSync(Buffer.alloc(10 * 1_024 * 1_024))
  const { outbound, origin } = await asking(
    t,
    (_, response) => response.setHeader('content-encoding', 'gzip').end(bomb),
    { maxBytes: LIMIT },
  )
  const answer = await outbound.fetch(origin)
  assert.ok(Buffer.from(await answer.arrayBuffer()).equals(bomb))
})

for (const [name, handler] of [
  ['that is never answered', () => undefined],
  ['whose answer begins and stops', (_, response) => void response.writeHead(200).write('x')],
  [
    'whose answer drips',
    (_, response) => {
      const drip = setInterval(() => response.write('x'), 20)
      response.on('close', () => clearInterval(drip))
    },
  ],
] as const satisfies readonly [string, Handler][]) {
  test(`a request ${name} is given up in time`, async (t) => {
    const { outbound, origin } = await asking(t, handler, { timeoutMs: 200 })
    await assert.rejects(limited(outbound.fetch(origin)), { name: 'TimeoutError' })
  })

  test(`a request ${name} is given up when its own signal says so`, async (t) => {
    const { outbound, origin } = await asking(t, handler)
    const signal = AbortSignal.timeout(200)
    await assert.rejects(limited(outbound.fetch(origin, { signal })), { name: 'TimeoutError' })
  })
}

test('a request may take longer than usual where its own signal allows it', async (t) => {
  const { outbound, origin } = await asking(
    t,
    // Well beyond the coarsest timer on the way, which is a second.
    (_, response) => void setTimeout(() => response.end('late'), 2_500),
    { timeoutMs: 200 },
  )
  const answer = await outbound.fetch(origin, { signal: AbortSignal.timeout(20_000) })
  assert.equal(await answer.text(), 'late')
})

test('nobody there is an error, at once', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  const outbound = createOutbound()
  await assert.rejects(limited(outbound.fetch(`http://127.0.0.1:${port}/`)), {
    code: 'ECONNREFUSED',
  })
  await outbound.close()
})

test('closing lets go of kept connections', async (t) => {
  const outbound = createOutbound()
  let closed: Promise<unknown> | undefined
  const origin = await listen(t, ({ socket }, response) => {
    closed = new Promise((resolve) => socket.once('close', resolve))
    response.end()
  })
  await outbound.fetch(origin)
  await outbound.close()
  await limited(closed!)
  await assert.rejects(outbound.fetch(origin), Error)
})

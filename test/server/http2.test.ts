import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2, { constants } from 'node:http2'
import https from 'node:https'
import { before, test, type TestContext } from 'node:test'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import { dialHttp2, FLAG, frame, headerBlock, reset, TYPE } from '../http2-wire.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { startRecorder, type Recorder } from '../proxy/upstream.ts'
import { claimsOf, listen, oneRoute, startGateway, type Gateway } from '../system.ts'

let authority: Authority
let own: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  own = authority.issue('gateway')
})

const unless = { skip: NO_OPENSSL }

interface World {
  readonly issuer: TestIssuer
  readonly gateway: Gateway
  readonly token: string
  readonly session: http2.ClientHttp2Session
}

async function world(
  t: TestContext,
  upstream: string,
  proxy: object = {},
  match: object = {},
): Promise<World> {
  const issuer = await startIssuer(t)
  const configuration = oneRoute({ issuer: issuer.url, upstream, proxy }) as { routes: object[] }
  const gateway = await startGateway(t, {
    ...configuration,
    routes: [{ ...configuration.routes[0], match: { path: '/orders', ...match } }],
    server: {
      listen: '127.0.0.1:0',
      drain: { delay: '0ms', timeout: '10s' },
      tls: { certificate: own.certificate, key: own.key },
    },
  })
  const session = http2.connect(gateway.origin, {
    ca: authority.certificate,
    maxSessionMemory: 100,
  })
  t.after(() => session.destroy())
  session.on('error', () => undefined)
  return { issuer, gateway, session, token: await issuer.token() }
}

interface Answered {
  readonly headers: http2.IncomingHttpHeaders
  readonly status: number
  readonly body: string
  /** The code that the stream was reset with; 0 where it ended well. */
  readonly reset: number
}

async function ask(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders | readonly string[],
  body?: string | ((stream: http2.ClientHttp2Stream) => void),
): Promise<Answered> {
  const stream = session.request(
    { ':path': '/orders', ...(headers as http2.OutgoingHttpHeaders) },
    { endStream: body === undefined },
  )
  let text = ''
  let answer: http2.IncomingHttpHeaders = {}
  stream.setEncoding('utf8')
  stream.on('response', (received) => (answer = received))
  stream.on('data', (piece: string) => (text += piece))
  stream.on('error', () => undefined)
  if (typeof body === 'string') stream.end(body)
  else body?.(stream)
  await new Promise((resolve) => stream.once('close', resolve))
  return {
    headers: answer,
    status: Number(answer[':status']),
    body: text,
    reset: stream.rstCode ?? 0,
  }
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\nok'

async function recorded(t: TestContext, proxy?: object): Promise<World & { recorder: Recorder }> {
  const recorder = await startRecorder(t, OK)
  return { recorder, ...(await world(t, recorder.url, proxy)) }
}

test(
  'a request by HTTP/2 reaches the upstream as one by HTTP/1.1, with the issued token',
  unless,
  async (t) => {
    const { recorder, session, token, gateway } = await recorded(t, { cookies: 'keep' })
    const { status, headers, body } = await ask(session, {
      ':path': '/orders/1?page=2',
      authorization: `Bearer ${token}`,
      cookie: ['a=1', 'b=2'],
      te: 'trailers',
      'x-forwarded-for': '6.6.6.6',
      'x-own': 'kept',
    })
    assert.deepEqual([status, body], [200, 'ok'])
    assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2'])
    assert.ok(headers['x-request-id'])
    assert.equal(recorder.requests[0]?.method, 'GET')
    assert.equal(recorder.requests[0]?.path, '/orders/1?page=2')
    const { host } = new URL(gateway.origin)
    for (const [name, values] of [
      ['cookie', ['a=1; b=2']],
      ['te', []],
      ['via', ['2.0 behalf']],
      ['x-own', ['kept']],
      ['x-forwarded-for', ['127.0.0.1']],
      ['x-forwarded-proto', ['https']],
      ['x-forwarded-host', [host]],
      ['transfer-encoding', []],
    ] as const) {
      assert.deepEqual(recorder.header(0, name), values, name)
    }
    assert.equal(claimsOf(recorder.header(0, 'authorization')[0])['aud'], 'https://orders.internal')
    assert.ok(!recorder.raw().includes(token))
    assert.doesNotMatch(recorder.raw(), /^:/m)
    assert.equal(recorder.leftOver(), 0)
  },
)

for (const [what, headers, framing] of [
  ['with a length', { 'content-length': 9 }, [['9'], []]],
  ['without a length', {}, [[], ['chunked']]],
] as const) {
  for (const method of ['POST', 'DELETE', 'GET']) {
    test(`${method} with a body ${what} is framed for the upstream`, unless, async (t) => {
      const { recorder, session, token } = await recorded(t)
      const given = { ':method': method, authorization: `Bearer ${token}`, ...headers }
      const { status } = await ask(session, given, 'GET /evil')
      assert.equal(status, 200)
      assert.equal(recorder.requests.length, 1)
      assert.equal(recorder.requests[0]?.body, 'GET /evil')
      assert.deepEqual(
        [recorder.header(0, 'content-length'), recorder.header(0, 'transfer-encoding')],
        framing,
      )
      assert.equal(recorder.leftOver(), 0)
    })
  }
}

test('a body that does not have its length never completes at the upstream', unless, async (t) => {
  const { recorder, session, token } = await recorded(t)
  const given = { ':method': 'POST', authorization: `Bearer ${token}`, 'content-length': 20 }
  const { reset } = await ask(session, given, 'too short')
  assert.notEqual(reset, 0)
  assert.equal(recorder.requests.length, 0)
  const twin = await ask(session, { ...given, 'content-length': 9 }, 'too short')
  assert.equal(twin.status, 200)
})

for (const [what, end] of [
  ['is cancelled', reset(1)],
  ['is reset without an error', reset(1, 0)],
  ['goes with its connection', undefined],
  ['ends', frame(TYPE.DATA, FLAG.END_STREAM, 1)],
] as const) {
  const whole = what === 'ends'
  test(
    `a body whose stream ${what} ${whole ? 'completes' : 'never completes'} at the upstream`,
    unless,
    async (t) => {
      const asked: http.IncomingMessage[] = []
      const server = http.createServer((request) => {
        asked.push(request)
        request.on('error', () => undefined)
        request.on('data', () => server.emit('data'))
      })
      const { gateway, token } = await world(t, await listen(t, server))
      const wire = await dialHttp2(t, gateway.origin, authority.certificate)
      const headers = headerBlock([
        ...([
          [':method', 'POST'],
          [':path', '/orders'],
          [':scheme', 'https'],
        ] as const),
        ...([
          [':authority', 'h'],
          ['authorization', `Bearer ${token}`],
        ] as const),
      ])
      const came = once(server, 'data')
      wire.send(frame(TYPE.HEADERS, FLAG.END_HEADERS, 1, headers))
      wire.send(frame(TYPE.DATA, 0, 1, Buffer.from('some')))
      await came
      const [request = assert.fail()] = asked
      const over = new Promise((resolve) => request.once(whole ? 'end' : 'close', resolve))
      if (end === undefined) wire.socket.destroy()
      else wire.send(end)
      await over
      assert.equal(request.complete, whole)
    },
  )
}

test(
  'a second host beside the authority is refused, and the same one is not',
  unless,
  async (t) => {
    const { recorder, session, token, gateway } = await recorded(t)
    const given = { authorization: `Bearer ${token}` }
    const refused = await ask(session, { ...given, ':authority': 'a.example', host: 'b.example' })
    assert.equal(refused.status, 400)
    assert.match(refused.body, /"code":"invalid_request"/)
    assert.equal(recorder.requests.length, 0)
    const { host } = new URL(gateway.origin)
    const same = await ask(session, { ...given, ':authority': host, host })
    assert.equal(same.status, 200)
  },
)

test('routes are matched by the authority', unless, async (t) => {
  const { url } = await startRecorder(t, OK)
  const { session, token } = await world(t, url, {}, { host: 'orders.example' })
  const given = { authorization: `Bearer ${token}` }
  for (const [host, status] of [
    ['orders.example', 200],
    ['other.example', 404],
  ] as const) {
    assert.equal((await ask(session, { ...given, ':authority': host })).status, status)
  }
})

for (const [what, headers, status, code] of [
  ['no token', {}, 401, 'missing_token'],
  ['an ambiguous target', { ':path': '/orders/%2e%2e/x' }, 400, 'invalid_request_target'],
  ['a target nobody serves', { ':path': '/elsewhere' }, 404, 'route_not_found'],
  ['an expectation nobody knows', { expect: 'wonders' }, 417, 'expectation_failed'],
  ['a header section past its limit', { 'x-large': 'x'.repeat(20_000) }, 431, 'headers_too_large'],
] as const) {
  test(`${what} is refused by HTTP/2 as by HTTP/1.1: ${status}`, unless, async (t) => {
    const { session, token, recorder } = await recorded(t)
    const authorization = what === 'no token' ? {} : { authorization: `Bearer ${token}` }
    const {
      status: answered,
      headers: received,
      body,
    } = await ask(session, {
      ...authorization,
      ...headers,
    })
    assert.equal(answered, status)
    assert.equal(received['content-type'], 'application/problem+json')
    assert.equal((JSON.parse(body) as { code: string }).code, code)
    if (status === 401) assert.match(String(received['www-authenticate']), /^Bearer/)
    assert.equal(recorder.requests.length, 0)
  })
}

test(
  '100 is said when the upstream wants the body, and not to who is refused',
  unless,
  async (t) => {
    const { session, token } = await recorded(t)
    for (const [authorization, expected] of [
      [`Bearer ${token}`, ['continue', 200]],
      ['Bearer a.b.c', [401]],
    ] as const) {
      const seen: (string | number)[] = []
      const stream = session.request({
        ...{ ':path': '/orders', ':method': 'POST', expect: '100-continue' },
        authorization,
      })
      stream.on('continue', () => {
        seen.push('continue')
        stream.end('body')
      })
      stream.on('error', () => undefined)
      const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      seen.push(Number(headers[':status']))
      assert.deepEqual(seen, expected)
      stream.close()
    }
  },
)

test('an answer that breaks off ends its stream with an error', unless, async (t) => {
  const server = http.createServer((_request, response) => {
    response.write('half')
    setTimeout(() => response.destroy(), 50)
  })
  const { session, token } = await world(t, await listen(t, server))
  const { status, body, reset } = await ask(session, { authorization: `Bearer ${token}` })
  assert.deepEqual([status, body], [200, 'half'])
  assert.notEqual(reset, 0)
})

test(
  'a caller that resets its stream takes the upstream request with it, and no other',
  unless,
  async (t) => {
    const responses: http.ServerResponse[] = []
    const server = http.createServer((_request, response) => {
      responses.push(response)
      server.emit('asked')
    })
    const { session, token, gateway } = await world(t, await listen(t, server))
    const given = { ':path': '/orders', authorization: `Bearer ${token}` }
    const first = session.request(given).on('error', () => undefined)
    await once(server, 'asked')
    const second = session.request(given)
    await once(server, 'asked')
    first.close(constants.NGHTTP2_CANCEL)
    await once(responses[0]!, 'close')
    responses[1]!.end('still here')
    const [headers] = (await once(second, 'response')) as [http2.IncomingHttpHeaders]
    assert.equal(headers[':status'], 200)
    second.resume()
    await once(second, 'close')
    assert.match(gateway.logged(), /"status":499,"result":"caller_gone"/)
  },
)

test('a megabyte comes through whole, up and down, and many streams at once', unless, async (t) => {
  const server = http.createServer((request, response) => void request.pipe(response))
  const { session, token } = await world(t, await listen(t, server))
  const body = 'x'.repeat(1_048_576)
  const given = { ':method': 'POST', authorization: `Bearer ${token}` }
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask(session, given, body)))
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.ok(answers.every((answer) => answer.body === body && answer.reset === 0))
})

test('HTTP/1.1 is served beside it', unless, async (t) => {
  const { gateway, token, recorder } = await recorded(t)
  const request = https.get(`${gateway.origin}/orders`, {
    ca: authority.certificate,
    headers: { authorization: `Bearer ${token}` },
  })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  assert.equal(response.httpVersion, '1.1')
  assert.equal(response.statusCode, 200)
  assert.deepEqual(recorder.header(0, 'via'), ['1.1 behalf'])
})

test('draining finishes streams that are open, and begins no other', unless, async (t) => {
  const responses: http.ServerResponse[] = []
  const server = http.createServer((_request, response) => {
    responses.push(response)
    server.emit('asked')
  })
  const { session, token, gateway } = await world(t, await listen(t, server))
  const stream = session.request({ ':path': '/orders', authorization: `Bearer ${token}` })
  await once(server, 'asked')
  const goaway = once(session, 'goaway')
  const drained = gateway.drain()
  await goaway
  responses[0]!.end('finished')
  stream.setEncoding('utf8')
  let text = ''
  stream.on('data', (piece: string) => (text += piece))
  await once(stream, 'close')
  assert.equal(text, 'finished')
  await drained
})

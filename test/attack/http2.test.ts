/** A hostile caller that speaks HTTP/2, byte by byte. */
import assert from 'node:assert/strict'
import { before, test, type TestContext } from 'node:test'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import {
  dialHttp2,
  FLAG,
  frame,
  type Frame,
  headerBlock,
  type Http2Wire,
  type Lines,
  reset,
  settings,
  TYPE,
  word,
} from '../http2-wire.ts'
import { startIssuer } from '../issuer.ts'
import { startRecorder, type Recorder } from '../proxy/upstream.ts'
import { type Gateway, oneRoute, startGateway } from '../system.ts'

let authority: Authority
let own: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  own = authority.issue('gateway')
})

const unless = { skip: NO_OPENSSL, timeout: 60_000 }

const WHOLE = FLAG.END_STREAM | FLAG.END_HEADERS

interface World {
  readonly gateway: Gateway
  readonly upstream: Recorder
  /** A sound request. */
  readonly lines: Lines
  dial(own?: Readonly<Record<number, number>>): Promise<Http2Wire>
}

async function world(t: TestContext): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startRecorder(t)
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.url }),
    server: { listen: '127.0.0.1:0', tls: { certificate: own.certificate, key: own.key } },
  })
  const lines: Lines = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':authority', 'gateway.example'],
    [':path', '/orders'],
    ['authorization', `Bearer ${await issuer.token()}`],
  ]
  const dial: World['dial'] = (values) =>
    dialHttp2(t, gateway.origin, authority.certificate, values)
  return { gateway, upstream, lines, dial }
}

function changed(lines: Lines, name: string, value: string | undefined): Lines {
  return lines.flatMap(([known, before]) => {
    if (known !== name) return [[known, before] as const]
    return value === undefined ? [] : [[known, value] as const]
  })
}

/** How a stream ended: the code that it was reset with, or of the problem that it was answered with, or `ok`. */
async function outcomeOf(wire: Http2Wire, stream = 1): Promise<string> {
  const isLast = (one: Frame): boolean =>
    one.stream === stream &&
    (one.type === TYPE.RST_STREAM ||
      ((one.type === TYPE.DATA || one.type === TYPE.HEADERS) && (one.flags & 1) === 1))
  const last = await wire.until(isLast)
  if (last === undefined) return 'the end of the connection'
  if (last.type === TYPE.RST_STREAM) return `reset ${last.payload.readUInt32BE()}`
  const body = wire.frames
    .filter((one) => one.stream === stream && one.type === TYPE.DATA)
    .map(({ payload }) => payload.toString())
    .join('')
  return /"code":"(\w+)"/.exec(body)?.[1] ?? body
}

async function ask({ dial }: World, lines: Lines): Promise<string> {
  const wire = await dial()
  wire.send(frame(TYPE.HEADERS, WHOLE, 1, headerBlock(lines)))
  const outcome = await outcomeOf(wire)
  wire.socket.destroy()
  return outcome
}

const PROTOCOL_ERROR = 'reset 1'

for (const [name, value, outcome, twin] of [
  [':path', 'orders', PROTOCOL_ERROR, '/orders'],
  [':path', '', PROTOCOL_ERROR, '/orders'],
  [':path', '*', PROTOCOL_ERROR, '/orders'],
  [':path', 'https://gateway.example/orders', PROTOCOL_ERROR, '/orders'],
  [':path', '/orders HTTP/1.1', PROTOCOL_ERROR, '/orders?HTTP/1.1'],
  [':path', '/orders\r\nx-evil: 1', PROTOCOL_ERROR, '/orders?x-evil:1'],
  [':path', '//evil.example/orders', 'invalid_request_target', '/orders'],
  [':path', '/orders/\xe9', 'invalid_request_target', '/orders/%C3%A9'],
  [':path', undefined, PROTOCOL_ERROR, '/orders'],
  [':scheme', 'ftp', 'invalid_request_target', 'https'],
  [':scheme', 'ftp', 'invalid_request_target', 'http'],
  [':scheme', undefined, PROTOCOL_ERROR, 'https'],
  [':authority', '', PROTOCOL_ERROR, 'gateway.example'],
  [':authority', undefined, PROTOCOL_ERROR, 'gateway.example'],
  [':authority', 'user@gateway.example', 'invalid_request', 'gateway.example'],
  [':authority', 'gateway.example/x', PROTOCOL_ERROR, 'gateway.example:443'],
  [':method', 'GET /evil HTTP/1.1', PROTOCOL_ERROR, 'GET'],
  [':method', 'get', 'invalid_request', 'GET'],
  [':method', 'trace', 'invalid_request', 'DELETE'],
  [':method', 'EVIL', 'invalid_request', 'SEARCH'],
  [':method', 'TRACE', 'method_not_allowed', 'OPTIONS'],
  [':method', 'CONNECT', PROTOCOL_ERROR, 'GET'],
] as const) {
  test(
    `${name} ${JSON.stringify(value)} is refused, and ${JSON.stringify(twin)} is not`,
    unless,
    async (t) => {
      const there = await world(t)
      const { lines, upstream } = there
      // The younger nghttp2 is, the more of it does not get as far as us.
      const refused = await ask(there, changed(lines, name, value))
      assert.ok(refused === outcome || refused === PROTOCOL_ERROR, refused)
      assert.equal(upstream.requests.length, 0)
      assert.equal(await ask(there, changed(lines, name, twin)), 'ok')
      assert.equal(upstream.requests.length, 1)
      assert.equal(upstream.leftOver(), 0)
    },
  )
}

test('a path of another scheme is no way around the one of HTTP', unless, async (t) => {
  const there = await world(t)
  const asked = changed(there.lines, ':path', 'https://gateway.example/orders')
  assert.equal(await ask(there, changed(asked, ':scheme', 'ftp')), 'invalid_request_target')
  assert.equal(there.upstream.requests.length, 0)
})

test(
  'there are no tunnels: CONNECT is refused in our form, with :protocol and without',
  unless,
  async (t) => {
    const there = await world(t)
    const plain: Lines = [
      [':method', 'CONNECT'],
      [':authority', 'gateway.example:443'],
    ]
    assert.equal(await ask(there, plain), 'method_not_allowed')
    const extended: Lines = [
      ...changed(there.lines.slice(0, 4), ':method', 'CONNECT'),
      [':protocol', 'websocket'],
    ]
    assert.equal(await ask(there, extended), PROTOCOL_ERROR)
    const wire = await there.dial()
    const told = await wire.until(({ type, flags }) => type === TYPE.SETTINGS && flags === 0)
    const ids = Array.from({ length: told!.payload.length / 6 }, (_, index) =>
      told!.payload.readUInt16BE(index * 6),
    )
    // RFC 8441, section 3: nobody is told that it could be had.
    assert.ok(!ids.includes(8) && ids.length > 0)
    assert.equal(there.upstream.requests.length, 0)
  },
)

for (const [name, value, twin] of [
  ['connection', 'authorization', 'x-connection'],
  ['connection', 'dpop', 'x-connection'],
  ['transfer-encoding', 'chunked', 'x-transfer-encoding'],
  ['upgrade', 'websocket', 'x-upgrade'],
  ['keep-alive', 'timeout=5', 'x-keep-alive'],
  ['proxy-connection', 'keep-alive', 'x-proxy-connection'],
  ['te', 'gzip', 'x-te'],
  ['X-Upper', 'spoofed', 'x-upper'],
  [':status', '200', 'x-status'],
  [':unknown', 'x', 'x-unknown'],
  [':path', '/other', 'x-path'],
  ['content-length', '5', 'x-content-length'],
  ['content-length', '+0', 'x-content-length'],
  ['content-length', '0x0', 'x-content-length'],
] as const) {
  test(`${name}: ${value} resets its stream, and ${twin} is a header`, unless, async (t) => {
    const there = await world(t)
    const { lines, upstream } = there
    assert.equal(await ask(there, [...lines, [name, value]]), PROTOCOL_ERROR)
    assert.equal(upstream.requests.length, 0)
    assert.equal(await ask(there, [...lines, [twin, value]]), 'ok')
    assert.deepEqual(upstream.header(0, twin), [value])
  })
}

test('a second length resets its stream, whether or not it is the same', unless, async (t) => {
  const there = await world(t)
  const length = (value: string) => ['content-length', value] as const
  for (const second of ['0', '5']) {
    assert.equal(await ask(there, [...there.lines, length('0'), length(second)]), PROTOCOL_ERROR)
  }
  assert.equal(await ask(there, [...there.lines, length('0')]), 'ok')
  assert.equal(there.upstream.requests.length, 1)
})

test('what is no header line becomes none at the upstream', unless, async (t) => {
  const there = await world(t)
  const { lines, upstream } = there
  for (const [name, value] of [
    ['x-lines', 'spoofed\r\nx-evil: spoofed'],
    ['x-line', 'spoofed\nx-evil: spoofed'],
    ['x-nul', 'spoofed\0'],
    ['x:colon', 'spoofed'],
    ['x space', 'spoofed'],
    ['x-\xe9', 'spoofed'],
    ['', 'spoofed'],
    ['transfer_encoding', 'spoofed'],
    ['x_forwarded_for', 'spoofed'],
    ['x-behalf-user', 'spoofed'],
    ['http2-settings', 'spoofed'],
  ] as const) {
    assert.equal(await ask(there, [...lines, [name, value], ['x-kept', 'kept']]), 'ok', name)
    assert.deepEqual(upstream.header(upstream.requests.length - 1, 'x-kept'), ['kept'])
  }
  assert.doesNotMatch(upstream.raw(), /spoofed/)
  assert.equal(upstream.leftOver(), 0)
})

for (const [name, value] of [
  ['authorization', 'Bearer x'],
  ['host', 'other.example'],
] as const) {
  test(`a second ${name} is refused`, unless, async (t) => {
    const there = await world(t)
    assert.equal(await ask(there, [...there.lines, [name, value]]), 'invalid_request')
    assert.equal(there.upstream.requests.length, 0)
    assert.equal(await ask(there, [...there.lines, [`x-${name}`, value]]), 'ok')
  })
}

test('too many header lines are told so, as long as that is no flood', unless, async (t) => {
  const there = await world(t)
  const many = (count: number): Lines =>
    Array.from({ length: count }, (_, index) => [`x-${index}`, 'a'] as const)
  assert.equal(await ask(there, [...there.lines, ...many(90)]), 'ok')
  for (const count of [110, 550]) {
    assert.equal(await ask(there, [...there.lines, ...many(count)]), 'headers_too_large')
  }
  assert.match(await ask(there, [...there.lines, ...many(700)]), /^reset /)
})

/** RFC 7541, sections 6.2.1 and 6.1: a line that goes into the table, and each byte after it is that line once more. */
function repeated(line: Lines[number], times: number): Buffer {
  const literal = headerBlock([line])
  literal[0] = 0x40
  return Buffer.concat([literal, Buffer.alloc(times, 0x80 | 62)])
}

test('a few bytes that stand for megabytes of headers are refused', unless, async (t) => {
  const there = await world(t)
  for (const [times, outcome] of [
    [1, 'ok'],
    [10, 'headers_too_large'],
    [500, 'headers_too_large'],
    [10_000, 'reset 11'],
  ] as const) {
    const wire = await there.dial()
    const block = [headerBlock(there.lines), repeated(['x-large', 'x'.repeat(4_000)], times)]
    wire.send(frame(TYPE.HEADERS, WHOLE, 1, Buffer.concat(block)))
    const told = await outcomeOf(wire)
    // Where our settings are known to hold, Node does not let it get as far as us.
    assert.ok(told === outcome || (outcome !== 'ok' && told.startsWith('reset ')), told)
  }
  assert.equal(there.upstream.requests.length, 1)
})

/** Sends until the gateway has had enough of it, or all of it has been sent. */
async function flood(
  wire: Http2Wire,
  most: number,
  make: (index: number) => Buffer,
): Promise<number> {
  let sent = 0
  const isOver = (): boolean => wire.ended() || wire.frames.some(({ type }) => type === TYPE.GOAWAY)
  while (sent < most && !isOver()) {
    const batch = Array.from({ length: Math.min(50, most - sent) }, () => make(sent++))
    wire.send(...batch)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return sent
}

const odd = (index: number): number => 2 * index + 1

/** What no client has a reason for, beside how much of it nobody minds. */
const FLOODS: Readonly<
  Record<
    string,
    {
      readonly few: number
      readonly most: number
      readonly make: (lines: Lines) => (index: number) => Buffer
    }
  >
> = {
  'streams that are reset at once': {
    few: 50,
    // nghttp2 has patience with a thousand, and with 33 a second.
    most: 20_000,
    make: (lines) => (index) =>
      Buffer.concat([
        frame(TYPE.HEADERS, WHOLE, odd(index), headerBlock(lines)),
        reset(odd(index)),
      ]),
  },
  'streams beyond those that may be open': {
    few: 100,
    most: 400,
    make: (lines) => (index) =>
      frame(
        TYPE.HEADERS,
        FLAG.END_HEADERS,
        odd(index),
        headerBlock(changed(lines, ':method', 'POST')),
      ),
  },
  'requests that make no sense': {
    few: 20,
    most: 150,
    make: (lines) => (index) =>
      frame(TYPE.HEADERS, WHOLE, odd(index), headerBlock([...lines, ['X-Upper', 'a']])),
  },
}

for (const [what, { few, most, make }] of Object.entries(FLOODS)) {
  test(`a flood of ${what} ends its connection, and nobody else's`, unless, async (t) => {
    const there = await world(t)
    const { gateway, lines, dial } = there
    const wire = await dial()
    const beside = await dial()
    await flood(wire, most, make(lines))
    await wire.until(({ type }) => type === TYPE.GOAWAY)
    beside.send(frame(TYPE.HEADERS, WHOLE, 1, headerBlock(lines)))
    assert.equal(await outcomeOf(beside), 'ok')
    const looked = gateway.logged().match(/"msg":"request"/g)?.length ?? 0
    assert.ok(looked < 4_000, `${looked} requests were looked at`)
    assert.doesNotMatch(gateway.logged(), /internal_error/)

    // The twin is what a client may do.
    const patient = await dial()
    await flood(patient, few, make(lines))
    patient.send(frame(TYPE.HEADERS, WHOLE, odd(few), headerBlock(lines)))
    assert.equal(await outcomeOf(patient, odd(few)), 'ok')
  })
}

for (const [what, piece, few] of [
  ['of continuations', (lines: Lines) => headerBlock(lines.slice(-1)), 3],
  ['of empty continuations', () => Buffer.alloc(0), 3],
] as const) {
  test(`a head that goes on with a flood ${what} ends its connection`, unless, async (t) => {
    const there = await world(t)
    const { dial } = there
    const lines: Lines = [...there.lines, ['x-custom', 'some']]
    const start = (): Buffer => frame(TYPE.HEADERS, FLAG.END_STREAM, 1, headerBlock(there.lines))
    const next = (flags: number): Buffer => frame(TYPE.CONTINUATION, flags, 1, piece(lines))
    const wire = await dial()
    wire.send(start())
    const most = 5_000
    assert.ok((await flood(wire, most, () => next(0))) < most)
    await wire.closed
    assert.equal(there.upstream.requests.length, 0)

    const patient = await dial()
    patient.send(start())
    for (let count = 1; count < few; count++) patient.send(next(0))
    patient.send(next(FLAG.END_HEADERS))
    assert.equal(await outcomeOf(patient), 'ok')
  })
}

test(
  'a flood of empty pieces of a body ends its connection, and a few do not',
  unless,
  async (t) => {
    const { dial, lines, upstream } = await world(t)
    const start = frame(
      TYPE.HEADERS,
      FLAG.END_HEADERS,
      1,
      headerBlock(changed(lines, ':method', 'POST')),
    )
    const wire = await dial()
    wire.send(start)
    const most = 20_000
    assert.ok((await flood(wire, most, () => frame(TYPE.DATA, 0, 1))) < most)
    await wire.closed
    const patient = await dial()
    patient.send(start)
    await flood(patient, 20, () => frame(TYPE.DATA, 0, 1))
    patient.send(frame(TYPE.DATA, FLAG.END_STREAM, 1, Buffer.from('body')))
    assert.equal(await outcomeOf(patient), 'ok')
    assert.deepEqual(
      upstream.requests.map(({ body }) => body),
      ['body'],
    )
  },
)

for (const [what, make] of [
  ['settings', () => settings({})],
  ['pings', () => frame(TYPE.PING, 0, 0, Buffer.alloc(8))],
  ['windows', () => frame(TYPE.WINDOW_UPDATE, 0, 0, word(1))],
  ['priorities', () => frame(TYPE.PRIORITY, 0, 1, Buffer.concat([word(0), Buffer.from([1])]))],
  ['frames that nobody knows', () => frame(0x63, 0, 0, Buffer.alloc(100))],
] as const) {
  for (const reads of [true, false]) {
    test(
      `a flood of ${what}, ${reads ? 'answers read' : 'answers unread'}, holds up nobody`,
      unless,
      async (t) => {
        const there = await world(t)
        const { dial, lines } = there
        const wire = await dial()
        const beside = await dial()
        if (!reads) wire.socket.pause()
        await flood(wire, 3_000, make)
        beside.send(frame(TYPE.HEADERS, WHOLE, 1, headerBlock(lines)))
        assert.equal(await outcomeOf(beside), 'ok')
        wire.socket.resume()
        wire.send(frame(TYPE.HEADERS, WHOLE, 1, headerBlock(lines)))
        // Its own connection is served again, or has been ended.
        assert.ok(['ok', 'the end of the connection'].includes(await outcomeOf(wire)))
      },
    )
  }
}

test('too many settings at once end the connection', unless, async (t) => {
  const { dial, lines } = await world(t)
  const many = (count: number): Buffer =>
    frame(
      TYPE.SETTINGS,
      0,
      0,
      Buffer.concat(
        Array.from({ length: count }, (_, index) => Buffer.from([1, index, 0, 0, 0, 0])),
      ),
    )
  const wire = await dial()
  wire.send(many(40))
  await wire.until(({ type }) => type === TYPE.GOAWAY)
  const patient = await dial()
  patient.send(many(10), frame(TYPE.HEADERS, WHOLE, 1, headerBlock(lines)))
  assert.equal(await outcomeOf(patient), 'ok')
})

const INITIAL_WINDOW = 4

test(
  'an answer that its caller opens no window for is given up, with its place among the requests',
  unless,
  async (t) => {
    t.mock.timers.enable({ apis: ['setInterval', 'Date'], now: Date.now() })
    const { dial, gateway, lines } = await world(t)
    const line = (count: number): string => `\nbehalf_requests_in_flight ${count}\n`
    // Whoever has its answer may be a moment ahead of the gateway.
    const inFlight = async (count: number): Promise<void> => {
      while (!gateway.metrics.render().includes(line(count))) {
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const wire = await dial({ [INITIAL_WINDOW]: 0 })
    const request = (stream: number): Buffer =>
      frame(TYPE.HEADERS, WHOLE, stream, headerBlock(lines))
    wire.send(request(1), request(3))
    for (const stream of [1, 3]) {
      await wire.until((one) => one.stream === stream && one.type === TYPE.HEADERS)
    }
    t.mock.timers.tick(20_000)
    await inFlight(2)
    // The twin takes it in time.
    wire.send(frame(TYPE.WINDOW_UPDATE, 0, 3, word(100)))
    assert.equal(await outcomeOf(wire, 3), 'ok')
    await inFlight(1)
    t.mock.timers.tick(20_000)
    assert.equal(await outcomeOf(wire, 1), 'reset 8')
    const after = wire.send(request(5), frame(TYPE.WINDOW_UPDATE, 0, 5, word(100)))
    assert.ok(after)
    assert.equal(await outcomeOf(wire, 5), 'ok')
    await inFlight(0)
  },
)

/** Requests as bytes: sound ones in every framing, and ones that two servers could read in two ways. */
import type { Random } from '../judge/random.ts'

/** One request, and what is known of it. */
export interface Spoken {
  readonly method: string
  readonly path: string
  readonly body: string
  readonly bytes: string
  /** Whether servers agree about it: it has to arrive, whole and once. */
  readonly sound: boolean
  /** What was done to it, for the report. */
  readonly twist: string
}

export interface Credentials {
  readonly token: string
}

/** No server that reads a body as a body ever answers this; it brings no token, so that a gateway refuses it by itself. */
export const SMUGGLED_PATH = '/orders/smuggled'
const SMUGGLED = `GET ${SMUGGLED_PATH} HTTP/1.1\r\nHost: gateway\r\n\r\n`

/** Ends every reading of what came before: as a head, as a chunk and as a body of at most this size. */
export const GARBAGE = `\0garbage\r\n\r\n${'\0'.repeat(4_096)}\r\n\r\n`
const MORE_THAN_SENT = 2_000

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'REPORT']

export function soundRequest(chance: Random, path: string, { token }: Credentials): Spoken {
  const method = pick(chance, METHODS)
  const body = bodyOf(chance)
  const lines = [
    `Host: gateway`,
    `Authorization: Bearer ${token}`,
    ...some(chance, HARMLESS),
    ...framing(chance, body),
    // Who does not wait for 100 sends the same.
    ...(body !== '' && chance.oneIn(10) ? ['Expect: 100-continue'] : []),
  ]
  const head = `${method} ${path} HTTP/1.1\r\n${shuffled(chance, lines).join('\r\n')}\r\n\r\n`
  const chunked = lines.some((line) => /^transfer-encoding/i.test(line))
  const bytes = head + (chunked ? chunks(chance, body) : body)
  return { method, path, body, bytes, sound: true, twist: 'none' }
}

/** A sound one with one thing changed that some server somewhere reads otherwise. */
export function twistedRequest(chance: Random, path: string, credentials: Credentials): Spoken {
  const name = pick(chance, Object.keys(TWISTS))
  const twist = TWISTS[name]!
  const method = pick(chance, METHODS)
  const { lines, body, start } = { ...twist(chance, method, path) }
  const head = [
    start ?? `${method} ${path} HTTP/1.1`,
    ...(lines.some((line) => /^host/i.test(line)) ? [] : ['Host: gateway']),
    `Authorization: Bearer ${credentials.token}`,
    ...lines.filter((line) => line !== NO_HOST),
  ]
  return { method, path, body: '', bytes: head.join('\r\n') + body, sound: false, twist: name }
}

/** What a twist makes of a request: its header lines beside the credentials, and all that follows the last of them. */
interface Twisted {
  readonly lines: readonly string[]
  readonly body: string
  readonly start?: string
}
type Twist = (chance: Random, method: string, path: string) => Twisted

const NO_HOST = 'Host-that-is-left-out: yes'
const END = '\r\n\r\n'
const chunked = `${END}${hex(SMUGGLED.length)}\r\n${SMUGGLED}\r\n0${END}`

function withLines(...lines: readonly string[]): (body: string) => Twisted {
  return (body) => ({ lines, body })
}

const LENGTHS = [
  '+7',
  '-1',
  '0x10',
  '7, 7',
  '7 7',
  '7;',
  '',
  '9'.repeat(20),
  '1e1',
  '007',
  '\t7',
  '7\0',
]
const CODINGS = [
  ...[
    'chunked, identity',
    'identity, chunked',
    'identity',
    'xchunked',
    'gzip, chunked',
    'chunked;q=1',
  ],
  ...[
    '"chunked"',
    'chunked,',
    ',chunked',
    'chunked chunked',
    'chunk',
    '\x0bchunked',
    'chunked\0',
    '',
  ],
]
const ALIASES = [
  ...['Transfer_Encoding: chunked', 'Transfer-Encoding : chunked', ' Transfer-Encoding: chunked'],
  ...['Transfer.Encoding: chunked', 'X: y\r\n Transfer-Encoding: chunked', 'Content_Length: 3'],
  ...['Content-Length : 3', 'TRANSFER-ENCODING\t: chunked', 'Transfer-Encoding\r\n: chunked'],
]
const CHUNK_SIZES = [
  '0x5',
  '+5',
  '-5',
  ' 5',
  '5 ',
  '5;a=b',
  '5;a="\r\n"',
  '1'.repeat(17),
  '',
  'g',
  '5\n',
  '5\r',
]
const EXTENSIONS = [
  ...[';', '; a', ';a=', ';a="', ';a="b', ';a="\\"', ';=b', ';a=b c', ' ;a', '\t', ';a\n', ';a\r'],
  ...[';a="\r\n0\r\n\r\n"', ';a=\0', ';a=\xff', `;${'a'.repeat(20_000)}`, ';a;a;a', ';a="b;c"'],
]
const LAST_CHUNKS = ['00', '0x0', '-0', '+0', ' 0', '0 ', '0\t', '0;a=b', '0\n', '0\r', '', '0, 0']
const TRAILERS = [
  ...['Transfer-Encoding: chunked', 'Content-Length: 3', 'Host: other', 'Authorization: Bearer x'],
  ...['Via: 1.1 x', 'X_Forwarded_For: 1.2.3.4', 'Connection: close', 'Upgrade: websocket', 'X: y'],
  ...[' folded: x', 'X : y', ': y', 'X', 'X\ny: z', 'X: y\nz: a', 'X: y\0', 'X: \xff', 'X: y\r'],
  ...[`X: ${SMUGGLED.trim()}`, `X: ${'y'.repeat(20_000)}`, 'GET /orders/smuggled HTTP/1.1'],
]
const HANDSHAKE = [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
]
const TARGETS = (path: string): readonly string[] => [
  ...[`${path}#x`, `http://gateway${path}`, `http://other${path}`, `gateway:80`, '*', `${path} x`],
  ...[
    `//gateway${path}`,
    `${path}\\`,
    `${path}/..`,
    `${path}/%2e%2e/x`,
    `${path}\x01`,
    `${path}\xff`,
  ],
]

const TWISTS: Readonly<Record<string, Twist>> = {
  'two lengths': (chance) =>
    withLines(
      'Content-Length: 0',
      `Content-Length: ${chance.oneIn(2) ? SMUGGLED.length : 0}`,
    )(END + SMUGGLED),
  'an odd length': (chance) =>
    withLines(`Content-Length: ${pick(chance, LENGTHS)}`)(END + SMUGGLED),
  'a length below the body': () => withLines('Content-Length: 0')(END + SMUGGLED),
  'a length beyond the body': (chance) =>
    withLines(`Content-Length: ${SMUGGLED.length + chance.below(MORE_THAN_SENT)}`)(END + SMUGGLED),
  'a length and chunks': (chance) =>
    withLines(
      ...shuffled(chance, [
        `Content-Length: ${chance.oneIn(2) ? 3 : SMUGGLED.length}`,
        'Transfer-Encoding: chunked',
      ]),
    )(chance.oneIn(2) ? chunked : `${END}0${END}${SMUGGLED}`),
  'an odd coding': (chance) =>
    withLines(`Transfer-Encoding: ${pick(chance, CODINGS)}`)(
      chance.oneIn(2) ? chunked : `${END}0${END}${SMUGGLED}`,
    ),
  'two codings': (chance) =>
    withLines('Transfer-Encoding: chunked', `Transfer-Encoding: ${pick(chance, CODINGS)}`)(chunked),
  'an alias of a framing header': (chance) =>
    withLines(pick(chance, ALIASES))(chance.oneIn(2) ? chunked : END + SMUGGLED),
  'an odd chunk size': (chance) =>
    withLines('Transfer-Encoding: chunked')(
      `${END}${pick(chance, CHUNK_SIZES)}\r\nabcde\r\n0${END}${SMUGGLED}`,
    ),
  'a chunk that does not end': (chance) =>
    withLines('Transfer-Encoding: chunked')(
      `${END}5\r\nabcde${pick(chance, ['', '\n', '\r', 'x\r\n'])}0${END}${SMUGGLED}`,
    ),
  'chunks of HTTP/1.0': (_chance, method, path) => ({
    ...withLines('Transfer-Encoding: chunked')(chunked),
    start: `${method} ${path} HTTP/1.0`,
  }),
  'odd trailers': (chance) => {
    const lines = Array.from({ length: 1 + chance.below(3) }, () => pick(chance, TRAILERS))
    return withLines(
      'Transfer-Encoding: chunked',
      'Trailer: Authorization, X',
    )(`${END}5\r\nabcde\r\n0\r\n${lines.join('\r\n')}${END}${SMUGGLED}`)
  },
  'an odd end of trailers': (chance) =>
    withLines('Transfer-Encoding: chunked')(
      `${END}0\r\nX: y${pick(chance, ['\n\n', '\r\n\n', '\n\r\n', '\r\r\n', '\r\n \r\n', '\0\r\n\r\n'])}${SMUGGLED}`,
    ),
  'an odd chunk extension': (chance) =>
    withLines('Transfer-Encoding: chunked')(
      `${END}5${pick(chance, EXTENSIONS)}\r\nabcde\r\n0${END}${SMUGGLED}`,
    ),
  'an odd last chunk': (chance) =>
    withLines('Transfer-Encoding: chunked')(
      `${END}5\r\nabcde\r\n${pick(chance, LAST_CHUNKS)}\r\n\r\n${SMUGGLED}`,
    ),
  'odd line ends': (chance) => {
    const end = pick(chance, ['\n', '\r', '\r\r\n', '\n\r\n'])
    return withLines(`X-A: b${end}Content-Length: ${SMUGGLED.length}`)(END + SMUGGLED)
  },
  'an odd byte in a header': (chance) => {
    const byte = pick(chance, ['\0', '\r', '\x0b', '\x7f', '\xff', '\x01'])
    return withLines(`X-A: b${byte}c`, `Content-Length: ${SMUGGLED.length}`)(END + SMUGGLED)
  },
  'an odd request line': (chance, method, path) => ({
    ...withLines(`Content-Length: ${SMUGGLED.length}`)(END + SMUGGLED),
    start: pick(chance, [
      ...[`${method}  ${path} HTTP/1.1`, `${method}\t${path} HTTP/1.1`, `${method} ${path}`],
      ...[`${method} ${path} HTTP/1.2`, `${method} ${path} HTTP/2.0`, `${method} ${path} HTTP/0.9`],
      ...[`${method.toLowerCase()} ${path} HTTP/1.1`, `QUERYX ${path} HTTP/1.1`],
      ...[`${method} ${path} http/1.1`, ` ${method} ${path} HTTP/1.1`, `TRACE ${path} HTTP/1.1`],
      ...[`CONNECT gateway:80 HTTP/1.1`, `PRI * HTTP/2.0`, `${method} ${path} HTTP/1.1 `],
    ]),
  }),
  'an odd target': (chance, method, path) => ({
    ...withLines(`Content-Length: ${SMUGGLED.length}`)(END + SMUGGLED),
    start: `${method} ${pick(chance, TARGETS(path))} HTTP/1.1`,
  }),
  'an odd host': (chance) => {
    const host = pick(chance, [
      ...['Host: gateway\r\nHost: other', 'Host: a@gateway', 'Host: gateway/x', 'Host: gateway?'],
      ...['Host:', 'Host: gateway\r\n other', 'Host : gateway', 'Host: gateway, other', NO_HOST],
    ])
    return withLines(host, `Content-Length: ${SMUGGLED.length}`)(END + SMUGGLED)
  },
  'an odd expectation': (chance) =>
    withLines(
      `Expect: ${pick(chance, ['100-continue', '100-Continue', '200-ok', '100-continue, x', ''])}`,
      ...(chance.oneIn(3) ? ['Expect: 100-continue'] : []),
      ...(chance.oneIn(3) ? ['Authorization: Bearer x'] : []),
      pick(chance, [`Content-Length: ${SMUGGLED.length}`, 'Content-Length: 0', 'X: y']),
    )(END + SMUGGLED),
  'an expectation of chunks': (chance) =>
    withLines(
      'Expect: 100-continue',
      'Transfer-Encoding: chunked',
      ...(chance.oneIn(2) ? ['Authorization: Bearer x'] : []),
    )(chance.oneIn(2) ? chunked : END + SMUGGLED),
  'a connection that HTTP/1.0 keeps': (chance, method, path) => ({
    ...withLines(
      pick(chance, ['Connection: keep-alive', 'Connection: TE, keep-alive', 'TE: chunked']),
      `Content-Length: ${chance.oneIn(2) ? SMUGGLED.length : 0}`,
    )(END + SMUGGLED),
    start: `${method} ${path} HTTP/1.0`,
  }),
  'names in Connection': (chance) => {
    const names = [
      'authorization',
      'content-length',
      'transfer-encoding',
      'host',
      'via',
      'close',
      '',
    ]
    return chance.oneIn(2)
      ? withLines(`Connection: ${pick(chance, names)}`, 'Transfer-Encoding: chunked')(chunked)
      : withLines(
          `Connection: ${pick(chance, names)}`,
          `Content-Length: ${SMUGGLED.length}`,
        )(END + SMUGGLED)
  },
  'an upgrade': (chance) =>
    withLines(
      'Connection: Upgrade, HTTP2-Settings',
      `Upgrade: ${pick(chance, ['h2c', 'websocket', 'TLS/1.0', 'x, websocket'])}`,
      'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
      `Content-Length: ${SMUGGLED.length}`,
    )(END + SMUGGLED),
  'a WebSocket where there are none': (chance) =>
    withLines(
      ...shuffled(chance, HANDSHAKE).slice(chance.oneIn(3) ? 1 : 0),
      ...(chance.oneIn(2) ? [`Content-Length: ${SMUGGLED.length}`] : []),
    )(`${END}${chance.oneIn(2) ? '\x81\x05hello' : ''}${SMUGGLED}`),
  'two tokens': (chance) =>
    withLines(
      pick(chance, ['Authorization: Bearer x', 'authorization: Basic eDp5', 'Authorization:']),
      `Content-Length: ${SMUGGLED.length}`,
    )(END + SMUGGLED),
  'a changed byte': (chance) => {
    const text = `X-A: b\r\nContent-Length: ${SMUGGLED.length}\r\nX-C: d${END}`
    const at = chance.below(text.length)
    const byte = String.fromCharCode(chance.below(256))
    const kept = chance.oneIn(2) ? at : at + 1
    return withLines()(`\r\n${text.slice(0, at)}${byte}${text.slice(kept)}${SMUGGLED}`)
  },
}

/** The names of all twists. */
export const TWIST_NAMES = Object.keys(TWISTS)

const HARMLESS = [
  ...[
    'Accept: */*',
    'User-Agent: fuzz',
    'X-Custom: one',
    'Cookie: a=b',
    'Via: 1.1 fuzz',
    'TE: trailers',
  ],
  ...[
    'X-Forwarded-For: 1.2.3.4',
    'Forwarded: for=1.2.3.4',
    'X-Behalf-User: mallory',
    'DPoP: x.y.z',
  ],
  ...['Connection: keep-alive', 'X-Empty:', 'x-folded-no: "a, b"', 'Accept-Encoding: gzip'],
  ...['Connection: TE', 'X-Forwarded-Client_Cert: Hash=x'],
]

const SOUND_TRAILERS = [
  ...['X-Trailer: x', 'Via: 1.1 fuzz', 'Authorization: Bearer x', 'Set-Cookie: a=b', 'X-Empty:'],
  `X-Request: ${SMUGGLED_PATH}`,
]

function bodyOf(chance: Random): string {
  switch (chance.below(4)) {
    case 0:
      return ''
    case 1:
      return SMUGGLED
    case 2:
      return `x${SMUGGLED}`.repeat(1 + chance.below(20))
    default:
      return `0${END}${SMUGGLED}`
  }
}

function framing(chance: Random, body: string): readonly string[] {
  if (body === '' && chance.oneIn(2)) return []
  return chance.oneIn(2)
    ? [pick(chance, ['Transfer-Encoding: chunked', 'transfer-encoding:  Chunked '])]
    : [`${pick(chance, ['Content-Length', 'content-length'])}: ${body.length}`]
}

function chunks(chance: Random, body: string): string {
  let text = ''
  for (let at = 0; at < body.length;) {
    const size = Math.min(body.length - at, 1 + chance.below(100))
    const extension = chance.oneIn(10) ? pick(chance, [';name=value', ';name', ';a="b"']) : ''
    const digits = chance.oneIn(10) ? hex(size).toUpperCase().padStart(4, '0') : hex(size)
    text += `${digits}${extension}\r\n${body.slice(at, at + size)}\r\n`
    at += size
  }
  const trailers = chance.oneIn(5) ? some(chance, SOUND_TRAILERS) : []
  return `${text}0\r\n${trailers.map((line) => `${line}\r\n`).join('')}\r\n`
}

function hex(size: number): string {
  return size.toString(16)
}

export function pick<Value>(chance: Random, values: readonly Value[]): Value {
  return values[chance.below(values.length)]!
}

function some<Value>(chance: Random, values: readonly Value[]): readonly Value[] {
  return values.filter(() => chance.oneIn(5))
}

function shuffled<Value>(chance: Random, values: readonly Value[]): readonly Value[] {
  const left = [...values]
  return values.map(() => left.splice(chance.below(left.length), 1)[0]!)
}

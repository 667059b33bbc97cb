import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { createLog, describeError, fingerprint, masked } from '../src/log.ts'

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
const segment = (minimum: number, maximum = 300): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: minimum, maxLength: maximum }).map(base64url)

const jwt = fc.tuple(segment(16), segment(2), segment(32, 256)).map((parts) => parts.join('.'))
const jwe = fc
  .tuple(
    segment(16),
    fc.oneof(fc.constant(''), segment(32)),
    segment(12, 16),
    segment(1),
    segment(16, 16),
  )
  .map((parts) => parts.join('.'))
const opaque = fc.oneof(
  segment(30),
  fc
    .uint8Array({ minLength: 30, maxLength: 300 })
    .map((bytes) => Buffer.from(bytes).toString('hex')),
  fc
    .uint8Array({ minLength: 30, maxLength: 300 })
    .map((bytes) => Buffer.from(bytes).toString('base64')),
)
const token = fc.oneof(jwt, jwe, opaque)
/** Words, and what libraries put around values. */
const around = fc.stringMatching(/^[ "'():,;<>{}[\]\n\t!?@#]{1,20}$/)

/** The longest run of the token's own text that is still to be read. */
function longestLeak(text: string, secret: string, atLeast: number): string | undefined {
  for (let at = 0; at + atLeast <= secret.length; at++) {
    const piece = secret.slice(at, at + atLeast)
    if (text.includes(piece)) return piece
  }
  return undefined
}

test('no token is readable in masked text, wherever it stands', () => {
  fc.assert(
    fc.property(around, token, around, fc.integer({ min: 0, max: 9_000 }), (a, secret, b, pad) => {
      const text = `${'word '.repeat(pad / 5)}${a}${secret}${b}`
      for (const length of [512, 2_048]) {
        assert.equal(longestLeak(masked(text, length), secret, 12), undefined)
      }
    }),
    { numRuns: 300 },
  )
})

test('a token that the cut falls into is not readable before it', () => {
  const secret = [24, 90, 256].map((size) => base64url(randomBytes(size))).join('.')
  // What stands before is masked, and so gives way to what stands after it.
  for (let length = 1_600; length < 2_100; length++) {
    const text = `${'a'.repeat(length)} ${secret} and more`
    assert.equal(longestLeak(masked(text), secret, 8), undefined, `after ${length}`)
  }
  assert.equal(masked('a'.repeat(10_000)), '[masked]')
})

test('a token in a form or a URL is masked with its percent-encodings', () => {
  const secret = randomBytes(48).toString('base64').replace(/^.{5}/, 'a+b/c')
  for (const text of [
    `subject_token=${encodeURIComponent(secret)}&x=1`,
    `GET /x?t=${encodeURIComponent(`${secret}==`)} failed`,
  ]) {
    assert.equal(longestLeak(masked(text), encodeURIComponent(secret), 12), undefined)
  }
})

test('ordinary text stays readable', () => {
  for (const text of [
    'connect ECONNREFUSED 127.0.0.1:9001',
    'unexpected "aud" claim value',
    'the key set was answered 503',
    'invalid_grant: the subject token has expired (code 42)',
  ]) {
    assert.equal(masked(text), text)
  }
})

test('masked text has a length, no control characters and no second line of its own', () => {
  assert.equal(masked('word '.repeat(1_000)).length, 512)
  assert.equal(masked('a\x00b\x1b[31mc\rd\x7fe'), 'a b [31mc d e')
})

test('masking a megabyte takes no time that anyone would notice', () => {
  const startedAt = process.cpuUsage()
  for (const unit of ['a', 'a.', 'aaaaaaaa.', 'aaaaaaaaa ', '. ', 'a'.repeat(39) + '!']) {
    masked(unit.repeat(1_000_000 / unit.length))
  }
  assert.ok(process.cpuUsage(startedAt).user < 2_000_000)
})

test('of an error only names, codes and masked texts are described, through its causes', () => {
  const secret = base64url(randomBytes(40))
  const inner = Object.assign(new TypeError(`bad ${secret}`), { code: 'INNER' })
  const error = Object.assign(new Error('outer', { cause: inner }), {
    response: { body: secret },
    claims: { sub: secret },
    headers: [secret],
    errors: [new Error(secret)],
    code: 'OUTER',
  })
  const description = describeError(error)
  assert.ok(!JSON.stringify(description).includes(secret))
  const { stack, ...rest } = description
  assert.match(stack!, /^Error: outer/)
  assert.deepEqual(rest, {
    name: 'Error',
    message: 'outer',
    code: 'OUTER',
    cause: { name: 'TypeError', message: 'bad [masked]', code: 'INNER' },
  })
})

test('properties that throw or secrets in names and codes do not get through', () => {
  const secret = base64url(randomBytes(40))
  const error = Object.assign(new Error('x'), { name: secret, code: secret })
  Object.defineProperty(error, 'response', {
    enumerable: true,
    get: () => assert.fail('a property was read'),
  })
  assert.ok(!JSON.stringify(describeError(error)).includes(secret))
})

for (const [name, thrown] of [
  ['an object', { secret: 'canary', toString: () => 'canary' }],
  ['an object that is no string', Object.create(null) as object],
  ['a list', ['canary']],
  ['a function', () => 'canary'],
] as const) {
  test(`${name} that was thrown is told by its type alone`, () => {
    assert.ok(!JSON.stringify(describeError(thrown)).includes('canary'))
  })
}

test('a text that was thrown is masked like any other', () => {
  assert.deepEqual(describeError('it broke'), { name: 'string', message: 'it broke' })
  assert.equal(describeError(`${'a'.repeat(50)} broke`).message, '[masked] broke')
  assert.equal(describeError(undefined).message, 'undefined')
})

test('a chain of causes ends, also where it is a ring', () => {
  const error = new Error('ring')
  error.cause = error
  assert.ok(JSON.stringify(describeError(error)).length < 10_000)
})

test('a log writes JSON lines, and describes errors by the same measure', () => {
  const lines: string[] = []
  const { logger, line, flush } = createLog({
    destination: { write: (text) => void lines.push(text) },
  })
  const secret = base64url(randomBytes(40))
  const error = Object.assign(new Error(`refused ${secret}`), { response: secret })
  logger.error({ error }, 'it failed')
  line('{"msg":"request"}')
  flush()
  const [event, access] = lines.map((text) => JSON.parse(text) as Record<string, unknown>)
  assert.equal(event!['level'], 'error')
  assert.equal(event!['msg'], 'it failed')
  assert.match(String(event!['time']), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  assert.equal((event!['error'] as Record<string, unknown>)['message'], 'refused [masked]')
  assert.deepEqual(access, { msg: 'request' })
  assert.ok(!lines.join('').includes(secret))
})

test('a silent log writes nothing', () => {
  const lines: string[] = []
  const log = createLog({
    level: 'silent',
    destination: { write: (text) => void lines.push(text) },
  })
  log.logger.fatal('x')
  log.line('{}')
  assert.deepEqual(lines, [])
})

test('a fingerprint tells tokens apart and is none of them', () => {
  assert.match(fingerprint('a'), /^[0-9a-f]{8}$/)
  assert.equal(fingerprint('a'), fingerprint('a'))
  assert.notEqual(fingerprint('a'), fingerprint('b'))
})

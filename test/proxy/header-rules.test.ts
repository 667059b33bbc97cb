import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { HeaderRules } from '../../src/config/config.ts'
import { createFaults } from '../../src/config/faults.ts'
import { headers } from '../../src/config/header-options.ts'
import { resolveHeaders } from '../../src/config/header-rules.ts'
import { ask, startProxy, startRecorder } from './upstream.ts'

type Written = Parameters<typeof headers.parse>[0]
type Claims = Readonly<Record<string, unknown>>

function rules(written: Written): HeaderRules | undefined {
  const faults = createFaults(() => undefined)
  const resolved = resolveHeaders(headers.parse(written), [], faults)
  faults.throwIfAny()
  return resolved
}

interface Told {
  readonly answer: string
  /** What the upstream received by a name. */
  readonly values: (name: string) => readonly string[]
  /** Everything that it received. */
  readonly raw: string
}

async function told(
  t: TestContext,
  written: Written,
  {
    claims = {},
    lines = [],
  }: { readonly claims?: Claims; readonly lines?: readonly string[] } = {},
): Promise<Told> {
  const upstream = await startRecorder(
    t,
    'HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nX-A: theirs\r\nx-a: twice\r\nX-B: b\r\ncontent-length: 2\r\n\r\nok',
  )
  const { port } = await startProxy(t, upstream.url, { proxy: { headers: rules(written) }, claims })
  const head = ['GET /orders HTTP/1.1', 'Host: gateway.example', ...lines].join('\r\n')
  const answer = await ask(t, port, `${head}\r\n\r\n`)
  return {
    answer,
    values: (name) => (upstream.requests.length === 0 ? [] : upstream.header(0, name)),
    raw: upstream.raw(),
  }
}

const USER = { set: { 'X-User': '{claims.sub}' } }

test('a claim is told in the header that the route names', async (t) => {
  const { values } = await told(t, USER, { claims: { sub: 'auth0|alice' } })
  assert.deepEqual(values('x-user'), ['auth0|alice'])
})

test('a header that the route sets cannot be forged in any spelling', async (t) => {
  const spellings = ['X-User', 'x-user', 'X-USER', 'X_User', 'x.user', 'X~User']
  const lines = [...spellings.map((name) => `${name}: forged`), 'Connection: X-User']
  const { values, raw } = await told(t, USER, { claims: { sub: 'alice' }, lines })
  assert.deepEqual(values('x-user'), ['alice'])
  assert.equal(raw.includes('forged'), false)
})

test('an absent claim leaves its header absent, whatever the caller sent', async (t) => {
  for (const claims of [{}, { sub: null }, { sub: '' }, { sub: [] }]) {
    const { answer, raw } = await told(t, USER, { claims, lines: ['X-User: forged'] })
    assert.match(answer, /^HTTP\/1\.1 200 /)
    assert.doesNotMatch(raw, /x.user/i)
  }
})

test('what objects inherit is no claim', async (t) => {
  const { raw } = await told(t, { set: { 'X-User': '{claims.constructor.name}' } })
  assert.doesNotMatch(raw, /x-user/i)
})

for (const [what, claim, value] of [
  ['text around it', 'user:{claims.x}!', 'user:alice!'],
  ['a way into an object', '{claims.act.sub}', 'agent'],
  ['a name that is a URL', '{claims.https://shop.example/tenant}', 'north'],
  ['a number', '{claims.level}', '7'],
  ['a truth value', '{claims.staff}', 'false'],
  ['a list', '{claims.roles}', 'reader,writer'],
  ['no claim at all', 'constant', 'constant'],
  ['a name beyond ASCII, in UTF-8', '{claims.name}', Buffer.from('José').toString('latin1')],
] as const) {
  test(`a header is made of ${what}`, async (t) => {
    const claims = {
      ...{ x: 'alice', act: { sub: 'agent' }, level: 7, staff: false, name: 'José' },
      'https://shop.example/tenant': 'north',
      roles: ['reader', 'writer'],
    }
    const { values } = await told(t, { set: { 'X-Told': claim } }, { claims })
    assert.deepEqual(values('x-told'), [value])
  })
}

for (const [what, sub] of [
  ['a line break', 'alice\r\nX-Admin: 1'],
  ['a line feed', 'alice\nX-Admin: 1'],
  ['NUL', 'alice\0'],
  ['a tab', 'a\tb'],
  ['a space at its end', 'admin '],
  ['a no-break space at its end', 'admin\u00a0'],
  ['a line separator', 'a\u2028b'],
  ['a zero-width space', 'ad\u200bmin'],
  ['half a character', 'a\ud800'],
  ['a control beyond ASCII', 'a\u0085b'],
  ['an object', { is: 'alice' }],
  ['a list of objects', [{ is: 'alice' }]],
  ['a list of which an entry holds a comma', ['reader,admin']],
  ['a list of which an entry is empty', ['reader', '']],
  ['three thousand characters', 'a'.repeat(3_000)],
] as const) {
  test(`a claim with ${what} is no header, and the request is refused`, async (t) => {
    const { answer, raw } = await told(t, USER, { claims: { sub } })
    assert.match(answer, /^HTTP\/1\.1 403 /)
    assert.match(answer, /"not_permitted"/)
    assert.equal(raw, '')
  })
}

test('what the route removes does not reach the upstream in any spelling', async (t) => {
  const lines = ['X-Debug: 1', 'x_debug: 2', 'X.Debug: 3', 'X-Debugger: kept']
  const { raw } = await told(t, { remove: ['X-Debug'] }, { lines })
  assert.doesNotMatch(raw, /x.debug:/i)
  assert.match(raw, /X-Debugger: kept/)
})

test('headers of the answer are set and removed, and the others stay', async (t) => {
  const response = { set: { 'X-A': 'ours' }, remove: ['server'] }
  const { answer } = await told(t, { response })
  assert.doesNotMatch(answer, /^server:/im)
  assert.deepEqual(answer.match(/^x-a: .*$/gim), ['X-A: ours'])
  assert.match(answer, /^X-B: b\r$/m)
})

test('without rules the answer keeps its headers', async (t) => {
  const { answer } = await told(t, {})
  assert.match(answer, /^Server: secret\/1\.0\r$/m)
  assert.deepEqual(answer.match(/^x-a: .*$/gim), ['X-A: theirs', 'x-a: twice'])
})

test('trace context passes as it is', async (t) => {
  const lines = [
    'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    'tracestate: congo=t61rcWkgMzE',
  ]
  const { raw } = await told(t, USER, { lines })
  for (const line of lines) assert.ok(raw.includes(`${line}\r\n`))
})

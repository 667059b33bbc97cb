import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/faults.ts'
import { readConfig } from '../../src/config/load.ts'
import { oneRoute } from '../system.ts'

function faults(headers: object): readonly string[] {
  const setting = { issuer: 'http://127.0.0.1:1/', upstream: 'http://127.0.0.1:9001' }
  try {
    readConfig(oneRoute({ ...setting, proxy: { headers } }))
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.faults.map(({ path, message }) => `${path}: ${message}`)
  }
}

const AT = 'routes[0].proxy.headers'
const CONNECTION = 'belongs to the connection: it cannot be changed'
const OURS = 'is for Behalf itself to say: it cannot be changed'

for (const [name, problem] of [
  ['Connection', CONNECTION],
  ['content-length', CONNECTION],
  ['Transfer-Encoding', CONNECTION],
  ['TE', CONNECTION],
  ['Trailer', CONNECTION],
  ['Upgrade', CONNECTION],
  ['Host', CONNECTION],
  ['Expect', CONNECTION],
  ['Authorization', OURS],
  ['DPoP', OURS],
  ['Client-Cert', OURS],
  ['Client-Cert-Chain', OURS],
  ['Forwarded', OURS],
  ['X-Forwarded-For', OURS],
  ['X-Forwarded-Anything', OURS],
  ['X-Behalf-User', OURS],
  ['X-Request-Id', OURS],
  ['Via', OURS],
  ['X-HTTP-Method-Override', OURS],
  ['Cookie', 'is what `proxy.cookies` decides about'],
  ['X_User', 'must be the name of a header, of letters, digits and `-`'],
  ['X-User:', 'must be the name of a header, of letters, digits and `-`'],
] as const) {
  test(`a route can neither set nor remove the request's ${name}`, () => {
    assert.deepEqual(faults({ set: { [name]: 'x' } }), [
      `${AT}.set: the name \`${name}\` ${problem}`,
    ])
    assert.deepEqual(faults({ remove: [name] }), [`${AT}.remove[0]: ${problem}`])
    assert.deepEqual(faults({ set: { 'X-Other': 'x' }, remove: ['X-Another'] }), [])
  })
}

for (const [name, problem] of [
  ['Content-Length', CONNECTION],
  ['Connection', CONNECTION],
  ['X-Request-Id', OURS],
  ['DPoP-Nonce', OURS],
  ['WWW-Authenticate', OURS],
] as const) {
  test(`a route can neither set nor remove the answer's ${name}`, () => {
    assert.deepEqual(faults({ response: { set: { [name]: 'x' } } }), [
      `${AT}.response.set: the name \`${name}\` ${problem}`,
    ])
    assert.deepEqual(faults({ response: { remove: [name] } }), [
      `${AT}.response.remove[0]: ${problem}`,
    ])
    assert.deepEqual(faults({ response: { set: { 'X-Other': 'x' }, remove: ['Set-Cookie'] } }), [])
  })
}

test('a value holds one claim at most, and braces only around it', () => {
  for (const [value, message] of [
    ['{claims.a}:{claims.b}', /one claim at most/],
    ['{sub}', /braces only around a claim/],
    ['{claims.}', /one claim at most|braces only/],
    ['{claims.a', /one claim at most|braces only/],
    ['a}', /braces only around a claim/],
    ['a\r\nX-B: c', /visible ASCII/],
    [' a', /visible ASCII/],
    ['é', /visible ASCII/],
  ] as const) {
    const [fault = '', ...others] = faults({ set: { 'X-A': value } })
    assert.deepEqual(others, [])
    assert.match(fault, message, value)
  }
  assert.deepEqual(faults({ set: { 'X-A': 'a {claims.https://a.example/b} c' } }), [])
})

test('what would be ignored is refused: one header said twice, or set and removed', () => {
  assert.match(faults({ set: { 'X-A': '1', 'x-a': '2' } })[0]!, /set\.x-a: repeats `X-A`/)
  assert.match(faults({ set: { 'X-A': '1' }, remove: ['x-a'] })[0]!, /remove\[0\]: is in `set`/)
  assert.match(faults({ remove: ['X-A', 'x-a'] })[0]!, /must not repeat/)
})

test('claims are told to upstreams, not to callers', () => {
  assert.deepEqual(faults({ response: { set: { 'X-A': '{claims.sub}' } } }), [
    `${AT}.response.set.X-A: must hold no claim: answers may be kept and given to others`,
  ])
})

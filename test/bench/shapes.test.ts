import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInThisContext } from 'node:vm'
import { GatewayError } from '../../src/errors.ts'
import { Journey } from '../../src/gateway.ts'
import { received } from '../../src/proxy/received.ts'
import { responseHead } from '../../src/proxy/answer-head.ts'
import { rulesOf } from '../../src/proxy/rules.ts'
import { route } from '../proxy/upstream.ts'

setFlagsFromString('--allow-natives-syntax')
// V8's own word for it, which its parser reads where it is told so.
const haveSameShape = runInThisContext('(one, other) => %HaveSameMap(one, other)') as (
  one: object,
  other: object,
) => boolean

function request(...rawHeaders: readonly string[]): IncomingMessage {
  const made = new IncomingMessage(new Socket())
  made.httpVersionMajor = 1
  made.httpVersionMinor = 1
  made.method = 'POST'
  made.rawHeaders = [...rawHeaders]
  return made
}

function alike(first: object, ...others: readonly object[]): void {
  for (const [index, other] of others.entries()) {
    assert.ok(haveSameShape(first, other), `the one at ${index + 1} is of another shape`)
  }
}

/** What reads objects of one shape is compiled for it; of several, each look-up is a search. */
test('what was received is of one shape, whatever it was', () => {
  const to = route('http://127.0.0.1:1')
  alike(
    received(request('Host', 'h'), to),
    received(request(), to),
    received(request('Host', 'h', 'Content-Length', '1'), to),
    received(request('Host', 'h', 'Transfer-Encoding', 'chunked', 'Expect', '100-continue'), to),
    received(request('Host', 'h', 'Connection', 'x', 'X-Forwarded-For', '192.0.2.1'), to),
  )
})

test('the head of an answer is of one shape, whatever it says', () => {
  const head = (status: number, ...lines: readonly string[]): object => {
    const raw = lines.map((line) => Buffer.from(line))
    return responseHead(status, raw, 'id-1', rulesOf(route('http://127.0.0.1:1')))
  }
  alike(
    head(200),
    head(200, 'Content-Length', '1'),
    head(401, 'WWW-Authenticate', 'DPoP error="use_dpop_nonce"', 'DPoP-Nonce', 'n'),
    head(200, 'Connection', 'x', 'Transfer-Encoding', 'chunked', 'Trailer', 'x'),
  )
})

test('a journey keeps its shape, however far it gets', () => {
  const first = request('Host', 'h')
  // A time that happens to be whole would make another shape of the first of them.
  while (Number.isInteger(new Journey(first, new ServerResponse(first)).startedAt)) continue
  const begun = new Journey(first, new ServerResponse(first))
  const ended = new Journey(first, new ServerResponse(first))
  ended.route = route('http://127.0.0.1:1')
  ended.outcome = 'hit'
  ended.exchangeAt = 1.5
  ended.proxyAt = 1.5
  ended.failure = new GatewayError('internal_error', 'a defect')
  alike(begun, ended)
})

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'
import {
  asGatewayError,
  errorAnswer,
  ERROR_CODES,
  GatewayError,
  type Protection,
  withoutStacks,
} from '../src/errors.ts'

/** Design, section 7: the codes that exist today. */
const STATUS: Record<string, number> = {
  missing_token: 401,
  invalid_request: 400,
  invalid_token: 401,
  invalid_dpop_proof: 401,
  use_dpop_nonce: 401,
  insufficient_user_authentication: 401,
  insufficient_scope: 403,
  not_permitted: 403,
  exchange_denied: 403,
  invalid_request_target: 400,
  route_not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  content_too_large: 413,
  expectation_failed: 417,
  rate_limited: 429,
  headers_too_large: 431,
  exchange_misconfigured: 502,
  upstream_rejected_token: 502,
  upstream_unavailable: 502,
  upstream_timeout: 504,
  keys_unavailable: 503,
  exchange_unavailable: 503,
  replay_store_unavailable: 503,
  overloaded: 503,
  internal_error: 500,
}

for (const code of ERROR_CODES) {
  test(`${code} is answered ${STATUS[code]} as a problem`, () => {
    const answer = errorAnswer(new GatewayError(code, 'what happened'), 'request-1')
    assert.equal(answer.status, STATUS[code])
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    assert.equal(answer.headers['cache-control'], 'no-store')
    const { title, ...problem } = JSON.parse(answer.body) as Record<string, unknown>
    assert.deepEqual(problem, {
      type: `urn:behalf:problem:${code}`,
      status: STATUS[code],
      detail: 'what happened',
      code,
      request_id: 'request-1',
    })
    assert.ok(typeof title === 'string' && title.length > 0)
    const challenged = answer.status === 401 || answer.status === 403
    assert.equal('www-authenticate' in answer.headers, challenged)
  })
}

test('every code of the table has a status', () => {
  assert.deepEqual([...ERROR_CODES].sort(), Object.keys(STATUS).sort())
})

for (const [code, challenge] of [
  ['missing_token', 'Bearer'],
  ['not_permitted', 'Bearer'],
  ['exchange_denied', 'Bearer'],
  ['invalid_token', 'Bearer error="invalid_token", error_description="it is late"'],
  [
    'insufficient_user_authentication',
    'Bearer error="insufficient_user_authentication", error_description="it is late"',
  ],
  ['invalid_request', undefined],
  ['use_dpop_nonce', 'DPoP error="use_dpop_nonce", error_description="it is late"'],
  ['keys_unavailable', undefined],
] as const) {
  test(`the challenge of ${code} is ${challenge ?? 'none'}`, () => {
    const { headers } = errorAnswer(new GatewayError(code, 'it is late'), 'id')
    assert.equal(headers['www-authenticate'], challenge)
  })
}

test('a lack of scope names the scopes that were needed', () => {
  const error = new GatewayError('insufficient_scope', 'no', { scopes: ['read:orders', 'b'] })
  assert.equal(
    errorAnswer(error, 'id').headers['www-authenticate'],
    'Bearer error="insufficient_scope", error_description="no", scope="read:orders b"',
  )
})

const DPOP = { schemes: ['DPoP'], tried: 'DPoP', proofAlgorithms: ['ES256', 'PS256'] } as const
const EITHER = { ...DPOP, schemes: ['Bearer', 'DPoP'] } as const
const METADATA = 'https://gateway.example/.well-known/oauth-protected-resource/orders'

function challenged(error: GatewayError, ...protections: readonly Protection[]): string {
  return errorAnswer(error, 'id', protections).headers['www-authenticate']!
}

for (const [what, protection, challenge] of [
  ['proofs only', DPOP, 'DPoP error="invalid_token", error_description="no", algs="ES256 PS256"'],
  [
    'either, to who came without a proof',
    { ...EITHER, tried: 'Bearer' },
    'Bearer error="invalid_token", error_description="no", DPoP algs="ES256 PS256"',
  ],
  [
    'either, to who came with a proof',
    EITHER,
    'Bearer, DPoP error="invalid_token", error_description="no", algs="ES256 PS256"',
  ],
  [
    'Bearer only, to who came with a proof',
    { schemes: ['Bearer'], tried: 'DPoP' },
    'Bearer error="invalid_token", error_description="no"',
  ],
  [
    'Bearer, with metadata',
    { schemes: ['Bearer'], tried: 'Bearer', metadataUri: METADATA },
    `Bearer error="invalid_token", error_description="no", resource_metadata="${METADATA}"`,
  ],
] as const) {
  test(`the challenge of an API that takes ${what}`, () => {
    assert.equal(challenged(new GatewayError('invalid_token', 'no'), protection), challenge)
  })
}

test('who brings no token is told the schemes, and of no error', () => {
  const error = new GatewayError('missing_token', 'no')
  assert.equal(
    challenged(error, { ...EITHER, metadataUri: METADATA }),
    `Bearer resource_metadata="${METADATA}", DPoP algs="ES256 PS256", resource_metadata="${METADATA}"`,
  )
})

for (const code of ['invalid_dpop_proof', 'use_dpop_nonce'] as const) {
  test(`${code} is said in a challenge of DPoP, and in no other`, () => {
    assert.equal(
      challenged(new GatewayError(code, 'no'), { ...EITHER, tried: 'Bearer' }),
      `DPoP error="${code}", error_description="no", algs="ES256 PS256"`,
    )
  })
}

test('a nonce for the next proof is given where there is one', () => {
  const { headers } = errorAnswer(
    new GatewayError('use_dpop_nonce', 'no', { dpopNonce: 'n-1' }),
    'id',
  )
  assert.equal(headers['dpop-nonce'], 'n-1')
  const plain = errorAnswer(new GatewayError('use_dpop_nonce', 'no'), 'id').headers
  assert.ok(!('dpop-nonce' in plain))
})

test('a step-up names what the next authentication must be like', () => {
  const stepUp = { acrValues: ['urn:mfa', 'urn:otp'], maxAge: 300.9 }
  const error = new GatewayError('insufficient_user_authentication', 'no', { stepUp })
  assert.equal(
    challenged(error, { schemes: ['Bearer'], tried: 'Bearer' }),
    'Bearer error="insufficient_user_authentication", error_description="no", ' +
      'acr_values="urn:mfa urn:otp", max_age="300"',
  )
})

test('the claims that Entra asks for are carried in base64, beside the error that its clients look for', () => {
  const claims = '{"access_token":{"polids":{"essential":true,"values":["é"]}}}'
  const authorizationUri = 'https://login.microsoftonline.com/t/oauth2/v2.0/authorize'
  const error = new GatewayError('insufficient_user_authentication', 'no', {
    stepUp: { claims, authorizationUri },
  })
  const challenge = challenged(error, { schemes: ['Bearer'], tried: 'Bearer' })
  const [, uri, carried] =
    /^Bearer error="insufficient_claims", error_description="no", authorization_uri="([^"]+)", claims="([A-Za-z0-9+/]+=*)"$/.exec(
      challenge,
    ) ?? []
  assert.equal(uri, authorizationUri)
  assert.equal(Buffer.from(carried!, 'base64').toString('utf8'), claims)
  const { code } = JSON.parse(errorAnswer(error, 'id').body) as { readonly code: string }
  assert.equal(code, 'insufficient_user_authentication')
})

test('several APIs each have their challenge, and those that are alike have one', () => {
  const bearer = { schemes: ['Bearer'], tried: 'Bearer' } as const
  const error = new GatewayError('missing_token', 'no')
  assert.equal(challenged(error, bearer, bearer), 'Bearer')
  const one = { ...bearer, metadataUri: 'https://a.example/1' }
  const other = { ...bearer, metadataUri: 'https://a.example/2' }
  assert.equal(
    challenged(error, one, other),
    'Bearer resource_metadata="https://a.example/1", Bearer resource_metadata="https://a.example/2"',
  )
})

test('Retry-After and Allow are given where they are known, and only there', () => {
  const error = new GatewayError('keys_unavailable', 'no', { retryAfter: 5 })
  assert.equal(errorAnswer(error, 'id').headers['retry-after'], '5')
  const other = new GatewayError('method_not_allowed', 'no', { allow: ['GET', 'POST'] })
  assert.equal(errorAnswer(other, 'id').headers['allow'], 'GET, POST')
  const plain = errorAnswer(new GatewayError('internal_error', 'no'), 'id').headers
  assert.deepEqual(Object.keys(plain).sort(), ['cache-control', 'content-type'])
})

test('nothing in a message or a scope leaves its quotes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.array(fc.string()), (message, scopes) => {
      const { headers } = errorAnswer(
        new GatewayError('insufficient_scope', message, { scopes }),
        '',
      )
      const value = '[\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]*'
      assert.match(
        headers['www-authenticate']!,
        new RegExp(
          `^Bearer error="insufficient_scope", error_description="${value}", scope="${value}"$`,
        ),
      )
    }),
  )
})

test('a message is text in the body, whatever it holds', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (message) => {
      const { body } = errorAnswer(new GatewayError('invalid_token', message), message)
      const problem = JSON.parse(body) as Record<string, unknown>
      assert.equal(problem['detail'], message)
      assert.equal(problem['request_id'], message)
    }),
  )
})

test('what is underneath a failure never reaches its answer', () => {
  const cause = new Error('canary', { cause: 'canary' })
  const { body, headers } = errorAnswer(new GatewayError('invalid_token', 'no', { cause }), 'id')
  assert.ok(!`${body}${JSON.stringify(headers)}`.includes('canary'))
})

for (const defect of [new TypeError('canary'), 'canary', undefined, null, { status: 404 }]) {
  test(`${JSON.stringify(defect) ?? 'undefined'} that is thrown is a defect, and tells nothing`, () => {
    const error = asGatewayError(defect)
    assert.equal(error.code, 'internal_error')
    assert.equal(error.cause, defect)
    assert.ok(!errorAnswer(error, 'id').body.includes('canary'))
  })
}

test('an expected failure stays itself', () => {
  const error = new GatewayError('invalid_token', 'no')
  assert.equal(asGatewayError(error), error)
})

test('an expected end has no stack, and what is none keeps its own', () => {
  const { stackTraceLimit } = Error
  const expected = new GatewayError('invalid_token', 'the access token has expired')
  assert.doesNotMatch(expected.stack ?? '', /\n +at /)
  assert.equal(Error.stackTraceLimit, stackTraceLimit)
  assert.match(new Error('a defect').stack ?? '', /\n +at /)
})

test('what throws while stacks are left out leaves none out afterwards', () => {
  const { stackTraceLimit } = Error
  const thrown: Error[] = []
  const run = (): never => {
    const error = new Error('within')
    thrown.push(error)
    throw error
  }
  assert.throws(() => withoutStacks(run), thrown[0])
  assert.doesNotMatch(thrown[0]?.stack ?? '', /\n +at /)
  assert.equal(Error.stackTraceLimit, stackTraceLimit)
})

test('where Error is frozen an expected end is one all the same', async () => {
  const module = new URL('../src/errors.js', import.meta.url).href
  const script = `
    const { GatewayError, withoutStacks } = await import(${JSON.stringify(module)})
    withoutStacks(() => undefined)
    console.log(new GatewayError('invalid_token', 'expired').code)`
  const flags = ['--frozen-intrinsics', '--no-warnings', '--input-type=module', '--eval', script]
  const { stdout } = await promisify(execFile)(process.execPath, flags)
  assert.equal(stdout, 'invalid_token\n')
})

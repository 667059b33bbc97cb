import assert from 'node:assert/strict'
import test from 'node:test'
import type { Parameter } from '../../src/config/config.ts'
import { withParameters } from '../../src/exchange/parameters.ts'
import { ask, IDENTIFIER, unsignedJwt } from '../support.ts'
import { issuerThat, permitAt } from './grants/issuer.ts'

for (const [parameters, expected] of [
  [{}, 'subject_token=a&audience=b&audience=c'],
  [{ connection: 'x' }, 'subject_token=a&audience=b&audience=c&connection=x'],
  [{ audience: null }, 'subject_token=a'],
  [{ scope: null }, 'subject_token=a&audience=b&audience=c'],
  [{ audience: { rename: 'client' } }, 'subject_token=a&client=b&client=c'],
  [{ scope: { rename: 'scopes' } }, 'subject_token=a&audience=b&audience=c'],
  [{ subject_token: 'x', audience: '' }, 'subject_token=x&audience='],
  [{ constructor: 'x' }, 'subject_token=a&audience=b&audience=c&constructor=x'],
] as readonly (readonly [Readonly<Record<string, Parameter>>, string])[]) {
  test(`${JSON.stringify(parameters)} makes ${expected}`, () => {
    const form = new URLSearchParams('subject_token=a&audience=b&audience=c')
    assert.equal(withParameters(form, parameters).toString(), expected)
    assert.equal(form.toString(), 'subject_token=a&audience=b&audience=c')
  })
}

const TYPE = 'urn:ietf:params:oauth:token-type:'
const ISSUED = {
  access_token: unsignedJwt({ iss: IDENTIFIER, sub: 'alice', aud: 'orders' }),
  token_type: 'Bearer',
}

for (const [asked, came, isTaken] of [
  [`${TYPE}jwt`, `${TYPE}jwt`, true],
  [`${TYPE}jwt`, `${TYPE}access_token`, false],
  [null, `${TYPE}access_token`, true],
  [null, `${TYPE}jwt`, false],
] as const) {
  test(`with requested_token_type ${asked}, ${came} is ${isTaken ? 'taken' : 'refused'}`, async (context) => {
    const body = { ...ISSUED, issued_token_type: came }
    const { exchange, asked: sent } = await issuerThat(context, () => ({ body }))
    const parameters = { requested_token_type: asked }
    const given = permitAt({ profile: 'rfc8693', exchange: { audience: 'orders', parameters } })
    const outcome = await Promise.resolve(exchange(given, ask())).then(
      () => 'taken',
      (error: { code?: string }) => error.code,
    )
    assert.equal(outcome, isTaken ? 'taken' : 'exchange_misconfigured')
    const form = Object.fromEntries(sent[0]!.form)
    assert.equal(form['requested_token_type'], asked ?? undefined)
  })
}

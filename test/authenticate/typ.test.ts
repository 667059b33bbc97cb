import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IDENTIFIER, SECRET } from '../support.ts'
import { claimsOf, gate, signed } from './issuer.ts'

/** RFC 9068, section 4: `at+jwt` or `application/at+jwt`, and everything else is rejected. */
for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt']) {
  test(`where at+jwt is asked for, typ ${typ} will do`, async (t) => {
    const token = await signed(claimsOf(IDENTIFIER), { alg: 'HS256', typ }, SECRET)
    await gate(t, { typ: 'at+jwt' }).take(token)
  })
}

for (const typ of [undefined, 'JWT', 'application/jwt', 'at+jwt ', 'x/at+jwt', '', null, 7]) {
  const said = typ === undefined ? 'absent' : JSON.stringify(typ)
  test(`where at+jwt is asked for, typ ${said} is refused`, async (t) => {
    const token = await signed(claimsOf(IDENTIFIER), { alg: 'HS256', typ }, SECRET)
    const { take, remembered } = gate(t, { typ: 'at+jwt' })
    await assert.rejects(take(token), { code: 'invalid_token', message: /"typ" header/ })
    assert.equal(remembered(), 0)
  })
}

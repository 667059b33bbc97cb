import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { test } from 'node:test'
import { credentials } from '../../src/authenticate/bearer.ts'
import { listen } from '../support.ts'

const TOKEN = 'aGVhZGVy.cGF5bG9hZA.c2ln'

for (const header of [
  ['Authorization', `Bearer ${TOKEN}`],
  ['authorization', `Bearer ${TOKEN}`],
  ['AUTHORIZATION', `bearer ${TOKEN}`],
  ['Authorization', `BEARER ${TOKEN}`],
  ['Authorization', `bEaReR ${TOKEN}`],
] as const) {
  test(`${header.join(': ')} presents the token`, () => {
    assert.equal(credentials(['Host', 'x', ...header, 'Accept', '*/*'], '').token, TOKEN)
  })
}

for (const [name, headers] of [
  ['no header at all', []],
  ['no Authorization', ['Host', 'x']],
  ['another scheme', ['Authorization', 'Basic dXNlcjpwYXNz']],
  ['a token without a scheme', ['Authorization', TOKEN]],
  ['an empty value', ['Authorization', '']],
  ['a scheme that begins like ours', ['Authorization', `BearerX ${TOKEN}`]],
  ['a tab instead of the space', ['Authorization', `Bearer\t${TOKEN}`]],
  ['a header that ends like ours', ['X-Authorization', `Bearer ${TOKEN}`]],
  ['Proxy-Authorization', ['Proxy-Authorization', `Bearer ${TOKEN}`]],
  ['a header value that looks like its name', ['X-Note', 'Authorization']],
] as const) {
  test(`${name} presents no token`, () => {
    assert.throws(() => credentials(headers, ''), { code: 'missing_token', status: 401 })
  })
}

for (const [name, headers] of [
  ['two tokens in two lines', ['Authorization', `Bearer ${TOKEN}`, 'Authorization', 'Bearer b']],
  ['one token twice', ['Authorization', `Bearer ${TOKEN}`, 'authorization', `Bearer ${TOKEN}`]],
  ['two schemes', ['Authorization', `Bearer ${TOKEN}`, 'Authorization', 'Basic dXNlcg']],
  ['an empty second line', ['Authorization', `Bearer ${TOKEN}`, 'AUTHORIZATION', '']],
  ['two tokens in one line', ['Authorization', `Bearer ${TOKEN} b`]],
  ['two credentials in one line', ['Authorization', `Bearer ${TOKEN},Bearer b`]],
  ['two tokens with a comma', ['Authorization', `Bearer ${TOKEN},b`]],
  ['the scheme alone', ['Authorization', 'Bearer']],
  ['the scheme and a space', ['Authorization', 'Bearer ']],
  ['two spaces', ['Authorization', `Bearer  ${TOKEN}`]],
  ['a space at the end', ['Authorization', `Bearer ${TOKEN} `]],
] as const) {
  test(`${name} is a malformed request`, () => {
    assert.throws(() => credentials(headers, ''), { code: 'invalid_request', status: 400 })
  })
}

for (const query of [
  '?access_token=x',
  '?access_token=',
  '?access_token',
  '?a=b&access_token=x',
  '?a=b;access_token=x',
  '?Access_Token=x',
  '?access%5ftoken=x',
  '?%61ccess_token=x',
  '?%41CCESS%5FTOKEN=x',
  '?a=%&access%5ftoken=x',
]) {
  test(`a second token in ${query} is refused`, () => {
    const headers = ['Authorization', `Bearer ${TOKEN}`]
    assert.throws(() => credentials(headers, query), { code: 'invalid_request', status: 400 })
    assert.throws(() => credentials([], query), { code: 'invalid_request', status: 400 })
  })
}

for (const query of [
  '',
  '?',
  '?a=access_token',
  '?my_access_token=x',
  '?access_tokens=x',
  '?access-token=x',
  '?next=%3Faccess_token%3Dx',
  '?next=%26access_token%3Dx',
  '?a=%',
]) {
  test(`the query ${query || 'that is empty'} holds no token`, () => {
    assert.equal(credentials(['Authorization', `Bearer ${TOKEN}`], query).token, TOKEN)
  })
}

for (const scheme of ['DPoP', 'dpop', 'DPOP']) {
  test(`${scheme} presents a token with the proof beside it`, () => {
    const headers = ['Authorization', `${scheme} ${TOKEN}`, 'dPOP', 'a proof', 'Accept', '*/*']
    assert.deepEqual(credentials(headers, ''), { scheme: 'DPoP', token: TOKEN, proof: 'a proof' })
  })
}

test('a scheme DPoP without a proof is for the API to judge', () => {
  const { scheme, proof } = credentials(['Authorization', `DPoP ${TOKEN}`], '')
  assert.deepEqual({ scheme, proof }, { scheme: 'DPoP', proof: undefined })
})

for (const [name, proofs] of [
  ['two proofs', ['DPoP', 'one', 'dpop', 'another']],
  ['one proof twice', ['DPoP', 'one', 'DPoP', 'one']],
  ['an empty second proof', ['DPoP', 'one', 'DPOP', '']],
] as const) {
  test(`${name} are a malformed request, with either scheme (RFC 9449, section 4.3, check 1)`, () => {
    for (const scheme of ['DPoP', 'Bearer']) {
      const headers = ['Authorization', `${scheme} ${TOKEN}`, ...proofs]
      assert.throws(() => credentials(headers, ''), { code: 'invalid_request', status: 400 })
      assert.equal(credentials(headers.slice(0, 4), '').proof, 'one')
    }
  })
}

test('the second of two header lines is seen where Node itself keeps only the first', async (t) => {
  const seen: { raw: string[]; parsed: string | undefined }[] = []
  const origin = await listen(t, ({ rawHeaders, headers }, response) => {
    seen.push({ raw: rawHeaders, parsed: headers.authorization })
    response.end()
  })
  await new Promise<void>((resolve, reject) => {
    const headers = ['Host', 'x', 'Authorization', `Bearer ${TOKEN}`, 'authorization', 'Bearer b']
    const request = httpRequest(origin, { headers }, (response) => {
      response.resume().on('end', resolve)
    })
    request.on('error', reject).end()
  })
  assert.equal(seen[0]!.parsed, `Bearer ${TOKEN}`)
  assert.throws(() => credentials(seen[0]!.raw, ''), { code: 'invalid_request' })
})

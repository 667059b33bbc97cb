import assert from 'node:assert/strict'
import { test } from 'node:test'
import { changed, faultsOf, told, valid } from './given.ts'

const SECRET = 'demo-only-backoffice-signing-secret-0001'
const MESSAGE = "is the demo's, which everybody knows: it is for issuers and listeners on loopback"

/** All on one machine, and yet with an issuer that is not. */
const HERE = {
  server: { listen: '127.0.0.1:8080', publicOrigin: 'https://gateway.example' },
  'issuers.other.issuer': [
    'http://127.0.0.1:9400/',
    'http://[::1]:9400/',
    'http://localhost:9400/',
  ],
  'apis.backoffice.signingSecret': SECRET,
}

test("the demo's signing secret serves the demo, on loopback", () => {
  assert.deepEqual(faultsOf(changed(HERE)), [])
})

for (const [what, changes] of [
  ['a gateway that others reach', { 'server.listen': '0.0.0.0:8080' }],
  ['an issuer elsewhere', { 'issuers.other.issuer': 'https://other.example' }],
  [
    'one issuer of several elsewhere',
    { 'issuers.other.issuer': ['http://127.0.0.1:9400/', 'https://other.example'] },
  ],
  [
    'a door that others reach',
    { endpoints: { forwardAuth: { listen: '10.0.0.1:8082', original: 'path' } } },
  ],
] as const) {
  test(`the demo's signing secret is refused with ${what}`, () => {
    const given = changed({ ...HERE, ...changes })
    assert.ok(told(faultsOf(given)).includes(`apis.backoffice.signingSecret: ${MESSAGE}`))
    const own = changed(
      { ...HERE, ...changes, 'apis.backoffice.signingSecret': undefined },
      valid(),
    )
    const other = changed({ 'apis.backoffice.signingSecret': `another-${SECRET}` }, own)
    assert.ok(!told(faultsOf(other)).some((fault) => fault.includes(MESSAGE)))
  })
}

test('among several secrets the one of the demo is named', () => {
  const given = changed({
    ...{ ...HERE, 'server.listen': '0.0.0.0:8080', 'apis.backoffice.signingSecret': undefined },
    'apis.backoffice.signingSecrets': ['Vq7dKx2mRz9TbN4wYs6LhC1fJg8PaE3u', SECRET],
  })
  assert.deepEqual(told(faultsOf(given)), [`apis.backoffice.signingSecrets[1]: ${MESSAGE}`])
})

import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import net, { type Socket } from 'node:net'
import { test } from 'node:test'
import { createCertificateOf } from '../../src/authenticate/mtls.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'

const DER = Buffer.from('the bytes of a certificate')
const THUMBPRINT = hash('sha256', DER, 'base64url')
const CLIENT_CERT = `:${DER.toString('base64')}:`
const HASH = hash('sha256', DER, 'hex')
const INVALID = { code: 'invalid_request', status: 400 }

const trusting = createCertificateOf(() => true)
const told = (...rawHeaders: string[]): string | undefined =>
  trusting({ socket: new net.Socket(), rawHeaders })

for (const [name, headers] of [
  ['Client-Cert', ['Client-Cert', CLIENT_CERT]],
  ['client-cert with white space', ['client-cert', ` ${CLIENT_CERT}\t`]],
  ['the Hash of Envoy', ['X-Forwarded-Client-Cert', `Hash=${HASH}`]],
  ['the Hash in upper case', ['x-forwarded-client-cert', `HASH=${HASH.toUpperCase()}`]],
  [
    'the Hash among other parts',
    [
      'x-forwarded-client-cert',
      `By=spiffe://mesh/gateway;Hash=${HASH};Subject="CN=a\\";Hash=0,O=b";URI=;DNS=a.example`,
    ],
  ],
  ['the Hash in quotes', ['x-forwarded-client-cert', `Hash="${HASH}"`]],
] as const) {
  test(`a trusted proxy tells the certificate by ${name}`, () => {
    assert.equal(told('Host', 'x', ...headers, 'Accept', '*/*'), THUMBPRINT)
  })
}

test('from anyone else no header tells a certificate, and none is refused', () => {
  const certificateOf = createCertificateOf(() => false)
  const socket = new net.Socket()
  for (const value of [CLIENT_CERT, 'nonsense']) {
    const rawHeaders = ['Client-Cert', value, 'X-Forwarded-Client-Cert', `Hash=${HASH}`]
    assert.equal(certificateOf({ socket, rawHeaders }), undefined)
  }
})

test('who is trusted is asked of each connection', () => {
  const proxy = new net.Socket()
  const certificateOf = createCertificateOf((socket) => socket === proxy)
  const rawHeaders = ['Client-Cert', CLIENT_CERT]
  assert.equal(certificateOf({ socket: proxy, rawHeaders }), THUMBPRINT)
  assert.equal(certificateOf({ socket: new net.Socket(), rawHeaders }), undefined)
})

test('a trusted proxy that tells nothing has seen no certificate, its own included', () => {
  const raw = Buffer.from('its own')
  const socket = { getPeerX509Certificate: () => ({ raw }) } as unknown as Socket
  assert.equal(trusting({ socket, rawHeaders: ['Host', 'x'] }), undefined)
  const direct = createCertificateOf(() => false)
  assert.equal(direct({ socket, rawHeaders: [] }), hash('sha256', raw, 'base64url'))
})

for (const [name, headers] of [
  ['two Client-Cert', ['Client-Cert', CLIENT_CERT, 'client-cert', CLIENT_CERT]],
  ['both headers', ['Client-Cert', CLIENT_CERT, 'X-Forwarded-Client-Cert', `Hash=${HASH}`]],
  ['both headers, the other way', ['X-Forwarded-Client-Cert', `Hash=${HASH}`, 'Client-Cert', '']],
  ['two of Envoy', ['X-Forwarded-Client-Cert', 'By=a', 'X-Forwarded-Client-Cert', `Hash=${HASH}`]],
  ['an empty Client-Cert', ['Client-Cert', '']],
  ['a Client-Cert that is no byte sequence', ['Client-Cert', DER.toString('base64')]],
  ['a Client-Cert with parameters', ['Client-Cert', `${CLIENT_CERT};a=1`]],
  ['two in one Client-Cert', ['Client-Cert', `${CLIENT_CERT}, ${CLIENT_CERT}`]],
  ['an empty byte sequence', ['Client-Cert', '::']],
  ['base64url', ['Client-Cert', ':-_-_:']],
  ['base64 with stray bits', ['Client-Cert', ':QQ=:']],
  ['two hops of Envoy', ['X-Forwarded-Client-Cert', `Hash=${HASH},Hash=${HASH}`]],
  ['two Hash', ['X-Forwarded-Client-Cert', `Hash=${HASH};hash=${HASH}`]],
  ['a Hash that is too short', ['X-Forwarded-Client-Cert', `Hash=${HASH.slice(2)}`]],
  ['a Hash that is no hexadecimal', ['X-Forwarded-Client-Cert', `Hash=${THUMBPRINT}`]],
  ['an open quote', ['X-Forwarded-Client-Cert', `Subject="CN=a;Hash=${HASH}`]],
  ['a part without a value', ['X-Forwarded-Client-Cert', `Hash;${HASH}`]],
  ['a Cert that is none', ['X-Forwarded-Client-Cert', 'Cert="nonsense"']],
  ['a Cert with a broken encoding', ['X-Forwarded-Client-Cert', 'Cert="%"']],
] as const) {
  test(`a trusted proxy that sends ${name} is not guessed at`, () => {
    assert.throws(() => told(...headers), INVALID)
  })
}

test('Envoy’s parts may name no certificate', () => {
  for (const none of ['Cert=""', 'Hash=', 'Hash="";Cert=""']) {
    assert.equal(told('X-Forwarded-Client-Cert', none), undefined)
  }
  assert.equal(
    told('X-Forwarded-Client-Cert', 'By=spiffe://mesh/gateway;URI=spiffe://a'),
    undefined,
  )
})

test('Envoy’s Cert is the certificate, and must agree with its Hash', { skip: NO_OPENSSL }, () => {
  const { certificate } = createAuthority().issue('alice')
  const { raw } = new X509Certificate(certificate)
  const part = `Cert="${encodeURIComponent(certificate)}"`
  assert.equal(told('X-Forwarded-Client-Cert', part), hash('sha256', raw, 'base64url'))
  const agreeing = `Hash=${hash('sha256', raw, 'hex')};${part}`
  assert.equal(told('X-Forwarded-Client-Cert', agreeing), hash('sha256', raw, 'base64url'))
  assert.throws(() => told('X-Forwarded-Client-Cert', `Hash=${HASH};${part}`), INVALID)
})

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadConfig, readConfig } from '../../src/config/load.ts'
import type { TlsConfig } from '../../src/config/config.ts'
import type { ProofOfPossession } from '../../src/config/possession.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { folder } from '../folder.ts'
import { changed, faultsOf, SECRET, told, valid } from './given.ts'

const AT = 'apis.storefront.proofOfPossession'
const possessionOf = (given: object): ProofOfPossession | undefined =>
  readConfig(changed({ [AT]: given }), { environment: {} }).apis[0]?.proofOfPossession

test('an API asks for nothing unless it says so', () => {
  assert.equal(readConfig(valid(), { environment: {} }).apis[0]?.proofOfPossession, undefined)
})

test('what is asked for is required of everybody unless it says otherwise', () => {
  const algorithms = ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256']
  const required = { required: true, exempt: new Set() }
  const dpop = {
    ...{ mechanism: 'dpop', ...required, algorithms, maxAgeMs: 60_000, nonce: undefined },
    replay: undefined,
  }
  assert.deepEqual(possessionOf({ mechanism: 'mtls' }), { mechanism: 'mtls', ...required })
  assert.deepEqual(possessionOf({ mechanism: 'dpop' }), dpop)
  const all = { mechanism: 'dpop', requiredFor: 'all_clients' }
  assert.deepEqual(possessionOf(all), dpop)
  assert.deepEqual(possessionOf({ mechanism: 'dpop', required: false }), {
    ...dpop,
    required: false,
  })
  assert.deepEqual(possessionOf({ mechanism: 'dpop', nonce: 'required', nonceSecret: SECRET }), {
    ...dpop,
    maxAgeMs: 300_000,
    nonce: { secret: SECRET },
  })
})

test('public clients are all but the confidential ones', () => {
  const given = {
    mechanism: 'mtls',
    requiredFor: 'public_clients',
    confidentialClients: ['a', 'b'],
  }
  assert.deepEqual(possessionOf(given), {
    ...{ mechanism: 'mtls', required: true },
    exempt: new Set(['a', 'b']),
  })
})

for (const [bad, good, option, message] of [
  [{}, { mechanism: 'mtls' }, 'mechanism', /is required/],
  [{ mechanism: 'none' }, { mechanism: 'dpop' }, 'mechanism', /must be/],
  ...(['algorithms', 'maxAge', 'nonce', 'nonceSecret', 'replay'] as const).map((name) => {
    const given = {
      algorithms: ['ES256'],
      ...{ maxAge: '10s', nonce: 'required', nonceSecret: SECRET, replay: 'local' },
    }
    const only = { [name]: given[name], ...(name === 'nonceSecret' && { nonce: 'required' }) }
    const dpop = { mechanism: 'dpop', ...only }
    return [{ mechanism: 'mtls', ...only }, dpop, name, /of no use with `mtls`/] as const
  }),
  [
    { mechanism: 'mtls', required: false, requiredFor: 'all_clients' },
    { mechanism: 'mtls', requiredFor: 'all_clients' },
    'requiredFor',
    /of no use with `required: false`/,
  ],
  [
    { mechanism: 'mtls', requiredFor: 'public_clients' },
    { mechanism: 'mtls', requiredFor: 'public_clients', confidentialClients: ['a'] },
    'requiredFor',
    /needs `confidentialClients`/,
  ],
  [
    { mechanism: 'mtls', confidentialClients: ['a'] },
    { mechanism: 'mtls', requiredFor: 'public_clients', confidentialClients: ['a'] },
    'confidentialClients',
    /of no use without `requiredFor: public_clients`/,
  ],
  [
    { mechanism: 'dpop', nonceSecret: SECRET },
    { mechanism: 'dpop', nonceSecret: SECRET, nonce: 'required' },
    'nonceSecret',
    /of no use without `nonce: required`/,
  ],
  [
    { mechanism: 'dpop', nonce: 'required', nonceSecret: SECRET.slice(1) },
    { mechanism: 'dpop', nonce: 'required', nonceSecret: SECRET },
    'nonceSecret',
    /at least 32 bytes/,
  ],
  [
    { mechanism: 'dpop', maxAge: '11m' },
    { mechanism: 'dpop', maxAge: '10m' },
    'maxAge',
    /at most 10m/,
  ],
  [
    { mechanism: 'dpop', algorithms: ['HS256'] },
    { mechanism: 'dpop', algorithms: ['ES512'] },
    'algorithms[0]',
    /must be/,
  ],
] as const) {
  test(`${JSON.stringify(bad)} is refused at ${option}`, () => {
    const faults = faultsOf(changed({ [AT]: bad }))
    const fault = faults.find(({ path }) => path === `${AT}.${option}`)
    assert.match(fault?.message ?? '', message)
    assert.deepEqual(told(faultsOf(changed({ [AT]: good }))), [])
  })
}

test('a proof needs an address that it can be for', () => {
  const dpop = { [AT]: { mechanism: 'dpop' } }
  assert.deepEqual(told(faultsOf(changed({ ...dpop, 'server.publicOrigin': undefined }))), [
    `${AT}.mechanism: needs \`server.publicOrigin\`: a proof names the address that it is for`,
  ])
  assert.deepEqual(faultsOf(changed(dpop)), [])
})

test('several replicas that do not know each other’s proofs are to be meant', () => {
  const dpop = { mechanism: 'dpop', nonce: 'required' }
  const [replay, nonce] = faultsOf(changed({ [AT]: dpop, 'server.replicas': 2 }))
  assert.match(replay?.message ?? '', /needs `cache.redis`, or `replay: local`/)
  assert.match(nonce?.message ?? '', /needs `nonceSecret`/)
  const meant = { ...dpop, replay: 'local', nonceSecret: SECRET }
  assert.deepEqual(faultsOf(changed({ [AT]: meant, 'server.replicas': 2 })), [])
})

test('several replicas that share a level know each other’s proofs and nonces', () => {
  const dpop = { mechanism: 'dpop', nonce: 'required' }
  const redis = { url: 'redis://127.0.0.1', sealingKeys: [randomBytes(32).toString('base64')] }
  const several = { [AT]: dpop, 'server.replicas': 2 }
  assert.deepEqual(told(faultsOf(changed({ ...several, cache: { redis } }))), [])
  assert.equal(faultsOf(changed({ ...several, cache: {} })).length, 2)
})

test(
  'TLS is of a certificate and its key, from texts or files',
  { skip: NO_OPENSSL },
  async (t) => {
    const authority = createAuthority()
    const { certificate, key } = authority.issue('gateway')
    const tlsOf = (tls: object): TlsConfig | undefined =>
      readConfig(changed({ 'server.tls': tls }), { environment: {} }).server.tls
    assert.deepEqual(tlsOf({ certificate, key }), {
      certificate: { pem: certificate },
      key: { pem: key },
      clientCertificates: 'none',
      clientAuthorities: undefined,
      minVersion: 'TLSv1.2',
      http2: true,
    })
    const files = { 'tls.crt': certificate, 'tls.key': key, 'ca.crt': authority.certificate }
    const tls = {
      ...{ certificate: 'tls.crt', key: 'tls.key', minVersion: 'TLSv1.3' },
      ...{ clientCertificates: 'request', clientAuthorities: 'ca.crt' },
    }
    const written = JSON.stringify(changed({ 'server.tls': tls }))
    const path = await folder(t, { ...files, 'behalf.yaml': written })
    const { server } = await loadConfig(join(path, 'behalf.yaml'), { environment: {} })
    assert.deepEqual(server.tls, {
      certificate: { file: join(path, 'tls.crt') },
      key: { file: join(path, 'tls.key') },
      clientCertificates: 'request',
      clientAuthorities: { file: join(path, 'ca.crt') },
      minVersion: 'TLSv1.3',
      http2: true,
    })
  },
)

test('what cannot be TLS is refused, and nothing of a key is quoted', { skip: NO_OPENSSL }, () => {
  const authority = createAuthority()
  const own = authority.issue('gateway')
  const other = authority.issue('other')
  const authorities = { clientCertificates: 'request', clientAuthorities: authority.certificate }
  const broken = authority.certificate.replace(/M[A-Za-z0-9]{8}/, '')
  for (const [option, wrong] of [
    ['key', { key: other.key }],
    ['key', { key: own.certificate }],
    ['key', { key: undefined }],
    ['certificate', { certificate: own.key }],
    ['certificate', { certificate: 'missing.crt' }],
    ['certificate', { certificate: undefined }],
    ['clientAuthorities', { ...authorities, clientCertificates: 'none' }],
    ['clientAuthorities', { ...authorities, clientAuthorities: own.key }],
    ['clientAuthorities', { ...authorities, clientAuthorities: broken }],
    ['clientAuthorities', { ...authorities, clientAuthorities: authority.certificate + broken }],
    ['minVersion', { minVersion: 'TLSv1.1' }],
    ['clientCertificates', { clientCertificates: 'require' }],
  ] as const) {
    const faults = faultsOf(changed({ 'server.tls': { ...own, ...wrong } }))
    assert.ok(
      faults.some(({ path }) => path === `server.tls.${option}`),
      JSON.stringify(told(faults)),
    )
    assert.doesNotMatch(JSON.stringify(faults), /BEGIN/)
  }
  assert.deepEqual(faultsOf(changed({ 'server.tls': { ...own, ...authorities } })), [])
})

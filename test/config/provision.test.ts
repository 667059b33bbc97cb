import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fieldFaults } from '../../src/config/management-fields.ts'
import { readConfig } from '../../src/config/load.ts'
import { changed, faultsOf, told } from './given.ts'

const grant = (more: object = {}) => ({
  api: 'storefront',
  audience: 'https://orders.internal',
  ...more,
})

test('management and provision are read as they are written', () => {
  const management = { domain: 'tenant.eu.auth0.com', clientId: 'id', clientSecret: 'secret' }
  const audiences = { 'https://orders.internal': { name: 'Orders', tokenLifetime: 600 } }
  const config = readConfig(
    changed({
      'issuers.tenant.management': management,
      provision: { audiences, grants: [grant()] },
    }),
    { environment: {} },
  )
  assert.deepEqual(config.issuers[0]?.management, management)
  assert.deepEqual(config.provision, {
    audiences,
    grants: [{ ...grant(), subjectType: 'user' }],
  })
})

for (const [changes, fault] of [
  [
    { 'issuers.other.management': { token: 'token' } },
    'issuers.other.management: is of no use: only profiles `auth0` and `auth0-legacy` are set up',
  ],
  [
    { 'issuers.tenant.management': { token: 'token', clientId: 'id' } },
    'issuers.tenant.management.token: stands beside a client: only one of the two may',
  ],
  [
    { 'issuers.tenant.management': { domain: 'https://tenant.example/' } },
    'issuers.tenant.management.domain: must be a host in lower case, such as `tenant.eu.auth0.com`',
  ],
  [
    { provision: { grants: [grant({ api: 'storefronts' })] } },
    'provision.grants[0].api: there is no API `storefronts`, did you mean `storefront`?',
  ],
  [
    { provision: { grants: [grant(), grant()] } },
    'provision.grants[1]: repeats the API, audience and subject type of another',
  ],
  [
    { provision: { grants: [grant({ organizationUsage: 'allow' })] } },
    'provision.grants[0].organizationUsage: is for `subjectType: client`',
  ],
  [
    { provision: { grants: [grant({ allowAllScopes: true, scopes: ['a'] })] } },
    'provision.grants[0].scopes: is of no use: `allowAllScopes` grants all',
  ],
  [
    { provision: { audiences: { 'https://orders.internal': { tokenLifetime: 2_592_001 } } } },
    'provision.audiences.https://orders.internal.tokenLifetime: must be at most 2592000',
  ],
] as const) {
  test(`refused: ${fault}`, () => {
    assert.deepEqual(told(faultsOf(changed(changes))), [fault])
  })
}

test('a variable that is not set has a stand-in where that is all there is, and is a fault elsewhere', () => {
  const asked: string[] = []
  const standIn = (path: readonly (string | number)[], variable: string) => {
    asked.push(`${path.join('.')} ${variable}`)
    return 'stand-in'
  }
  const input = changed({ 'apis.storefront.client.id': '${UNSET}' })
  const config = readConfig(input, { environment: {}, standIn })
  assert.equal(config.apis[0]?.client?.id, 'stand-in')
  assert.deepEqual(asked, ['apis.storefront.client.id UNSET'])
  assert.deepEqual(told(faultsOf(input)), [
    'apis.storefront.client.id: the variable UNSET is not set',
  ])
  const set = readConfig(input, { environment: { UNSET: 'set' }, standIn })
  assert.equal(set.apis[0]?.client?.id, 'set')
  const within = changed({ 'apis.storefront.client.id': 'a-${UNSET}' })
  assert.throws(() => readConfig(within, { environment: {}, standIn }), /UNSET is not set/)
})

test('fields of one object are judged by generation and kind', () => {
  const types = { token_exchange: { enabled_subject_token_types: ['urn:a'] } }
  assert.deepEqual(fieldFaults('legacy', 'resource-server', types), [])
  assert.equal(fieldFaults('current', 'resource-server', types).length, 1)
  assert.deepEqual(fieldFaults('current', 'client-grant', { scope: ['a'] }), [])
  assert.equal(fieldFaults('current', 'client-grant', { scope: [''] }).length, 1)
})

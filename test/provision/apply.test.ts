import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { apply } from '../../src/provision/apply.ts'
import { ConflictError } from '../../src/provision/failure.ts'
import type { Management } from '../../src/provision/management.ts'
import type { Tenant } from '../../src/tenant/index.ts'
import { requestSchema } from '../tenant/management.ts'
import { skip } from '../vectors/folder.ts'
import { done, killed, SOURCE, start, TARGET, wantedOf, wholeOf } from './tenant.ts'

const OPTIONS = { pruneScopes: false, lagMs: 1 }

test('an empty tenant becomes what the routes need, and then nothing is to be done', async (t) => {
  const { tenant, management, wanted, steps } = await start(t)
  assert.deepEqual(
    (await steps()).map(({ action, kind }) => `${action} ${kind}`),
    ['create resource-server', 'create resource-server', 'create client', 'create client-grant'],
  )
  await apply(management, wanted, OPTIONS)
  assert.deepEqual(done(await steps()), [])
  const calls = tenant.managementCalls().length
  await apply(management, wanted, OPTIONS)
  const sent = tenant.managementCalls().slice(calls)
  assert.ok(sent.every(({ method }) => method === 'GET'))
})

test('what is provisioned exchanges; without the grant it does not', async (t) => {
  const { tenant, management, wanted } = await start(t)
  await apply(management, wanted, OPTIONS)
  const { state } = tenant
  state.addClient({
    ...{ client_id: 'spa', app_type: 'spa', token_endpoint_auth_method: 'none' },
    grant_types: ['password'],
  })
  tenant.addUser('carol')
  const token = await tenant.token({ user: 'carol', audience: SOURCE })
  const client = state.client(state.resourceServer(SOURCE)!.client_id!)!
  const exchange = async (): Promise<number> => {
    const body = new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: TARGET,
      scope: 'orders:read',
      client_id: client.client_id,
      client_secret: client.client_secret!,
    })
    return (await fetch(`${tenant.url}oauth/token`, { method: 'POST', body })).status
  }
  assert.equal(await exchange(), 200)
  for (const { id } of state.clientGrants.values()) state.removeClientGrant(id)
  assert.equal(await exchange(), 403)
})

const BREAKS: Readonly<Record<string, (tenant: Tenant) => void>> = {
  'update resource-server scopes': ({ state }) => {
    state.resourceServer(TARGET)!.scopes = [{ value: 'orders:read' }, { value: 'another' }]
  },
  'update resource-server signing_alg': ({ state }) => {
    state.resourceServer(SOURCE)!.signing_alg = 'PS256'
  },
  'update resource-server skip_consent_for_verifiable_first_party_clients': ({ state }) => {
    state.resourceServer(TARGET)!.skip_consent_for_verifiable_first_party_clients = false
  },
  'update resource-server subject_type_authorization': ({ state }) => {
    state.resourceServer(TARGET)!.subject_type_authorization.user.policy = 'deny_all'
  },
  'update client token_exchange': ({ state }) => {
    const [client] = state.clients.values()
    client!.token_exchange = { allow_any_profile_of_type: ['custom_authentication'] }
  },
  'update client token_endpoint_auth_method': ({ state }) => {
    const [client] = state.clients.values()
    client!.token_endpoint_auth_method = 'none'
  },
  'update client-grant scope': ({ state }) => {
    const [grant] = state.clientGrants.values()
    grant!.scope = ['orders:list']
  },
  'create client-grant client_id audience subject_type scope': ({ state }) => {
    for (const { id } of state.clientGrants.values()) state.removeClientGrant(id)
  },
}

for (const [expected, breakIt] of Object.entries(BREAKS)) {
  test(`broken by hand, one call mends it: ${expected}`, async (t) => {
    const { tenant, management, wanted, steps } = await start(t)
    await apply(management, wanted, OPTIONS)
    breakIt(tenant)
    assert.deepEqual(done(await steps()), [expected])
    const before = tenant.managementCalls().length
    await apply(management, wanted, OPTIONS)
    const changes = tenant
      .managementCalls()
      .slice(before)
      .filter(({ method }) => method !== 'GET')
    assert.deepEqual(
      changes.map(({ body }) => Object.keys(body as object).toSorted()),
      [expected.split(' ').slice(2).toSorted()],
    )
    assert.deepEqual(done(await steps()), [])
  })
}

test('what nothing asks for stays: scopes, names, lifetimes; scopes go where that is said', async (t) => {
  const { tenant, management, wanted, steps } = await start(t)
  await apply(management, wanted, OPTIONS)
  const server = tenant.state.resourceServer(TARGET)!
  const [grant] = tenant.state.clientGrants.values()
  Object.assign(server, { name: 'Orders', token_lifetime: 60 })
  server.scopes.push({ value: 'another', description: 'of somebody else' })
  grant!.scope.push('another')
  assert.deepEqual(done(await steps()), [])
  await apply(management, wanted, { ...OPTIONS, pruneScopes: true })
  assert.deepEqual(
    server.scopes.map(({ value }) => value),
    ['orders:read', 'orders:list'],
  )
  assert.deepEqual(grant!.scope, ['orders:read', 'orders:list'])
  assert.equal(server.name, 'Orders')
  assert.equal(server.token_lifetime, 60)
})

test('ended at any call and run again, it comes to the same', async (t) => {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const changes = { 'apis.storefront.client': { id: '${CLIENT_ID}', privateKey: '${KEY}' } }
  const wants = { changes, environment: { KEY: privateKey } }
  const whole = await start(t, wants)
  await apply(whole.management, whole.wanted, OPTIONS)
  const expected = wholeOf(whole.tenant)
  const calls = whole.tenant.managementCalls().length
  assert.ok(calls > 6)
  for (const when of ['before', 'after'] as const) {
    for (let at = 1; at <= calls; at++) {
      const { tenant, management, wanted, steps } = await start(t, wants)
      const ended = apply(killed(management, at, when), wanted, OPTIONS)
      await assert.rejects(ended, { message: 'killed' }, `${when} ${at}`)
      await apply(management, wanted, OPTIONS)
      assert.deepEqual(wholeOf(tenant), expected, `${when} ${at}`)
      assert.deepEqual(done(await steps()), [])
    }
  }
})

test('what somebody else makes meanwhile is taken as it is, and mended', async (t) => {
  const { tenant, management, wanted, steps } = await start(t)
  let isFirst = true
  const raced: Management = {
    ...management,
    async createServer(body) {
      if (isFirst) await management.createServer({ identifier: body['identifier'] })
      isFirst = false
      return management.createServer(body)
    },
  }
  await assert.rejects(
    management.createServer({ identifier: `${tenant.url}api/v2/` }),
    ConflictError,
  )
  await apply(raced, wanted, OPTIONS)
  assert.deepEqual(done(await steps()), [])
  assert.deepEqual(tenant.state.resourceServer(SOURCE)!.scopes, [{ value: 'read:orders' }])
})

test('a change that is not seen at once is waited for, and not made twice', async (t) => {
  const { tenant, management, wanted } = await start(t)
  let hidden = 0
  const late: Management = {
    ...management,
    server: async (identifier) => (hidden-- > 0 ? undefined : management.server(identifier)),
    async createGrant(body) {
      hidden = 3
      return management.createGrant(body)
    },
  }
  await apply(late, wanted, OPTIONS)
  const made = tenant.managementCalls().filter(({ method }) => method === 'POST')
  assert.deepEqual(
    made.map(({ status }) => status),
    [201, 201, 201, 201],
  )
})

test('a tenant that never becomes as asked for is told of by object and field', async (t) => {
  const { management, wanted } = await start(t)
  await apply(management, wanted, OPTIONS)
  const deaf: Management = {
    ...management,
    server: async (identifier) => ({
      ...(await management.server(identifier)),
      signing_alg: 'PS256',
    }),
  }
  await assert.rejects(apply(deaf, wanted, OPTIONS), {
    code: 'unsettled',
    message: /resource-server https:\/\/storefront\.example \(signing_alg\)/,
  })
})

test('a key is added to a client that has another, which stays', async (t) => {
  const pair = () =>
    generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }).privateKey
  const changes = { 'apis.storefront.client': { id: '${CLIENT_ID}', privateKey: '${KEY}' } }
  const { tenant, management, wanted, steps } = await start(t, {
    changes,
    environment: { KEY: pair() },
  })
  await apply(management, wanted, OPTIONS)
  const other = await wantedOf(tenant.url, { changes, environment: { KEY: pair() } })
  assert.deepEqual(done(await steps(other)), ['update client client_authentication_methods'])
  await apply(management, other, OPTIONS)
  assert.deepEqual(done(await steps(other)), [])
  const [client] = tenant.state.clients.values()
  assert.equal(client!.client_authentication_methods?.private_key_jwt?.credentials.length, 2)
  assert.deepEqual(done(await steps()), [])
})

test('a key that tokens are encrypted to is compared by its thumbprint', async (t) => {
  const pem = () =>
    generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }).publicKey
  const wants = (key: string) => ({
    changes: {
      provision: {
        audiences: {
          [TARGET]: { tokenEncryption: { encryptionKey: { alg: 'RSA-OAEP-256', pem: key } } },
        },
      },
    },
  })
  const { tenant, management, wanted, steps } = await start(t, wants(pem()))
  await apply(management, wanted, OPTIONS)
  assert.deepEqual(done(await steps()), [])
  const other = await wantedOf(tenant.url, wants(pem()))
  assert.deepEqual(done(await steps(other)), ['update resource-server token_encryption'])
  await apply(management, other, OPTIONS)
  assert.deepEqual(done(await steps(other)), [])
})

test('a tenant of 2019 is told of the exchange on the API itself, and its client is its own', async (t) => {
  const changes = {
    'issuers.tenant.profile': 'auth0-legacy',
    'routes[0].exchange.renew': 'refresh-token',
  }
  const { tenant, management, wanted, steps } = await start(
    t,
    { changes },
    { generation: 'legacy' },
  )
  await apply(management, wanted, OPTIONS)
  assert.deepEqual(done(await steps()), [])
  const server = tenant.state.resourceServer(SOURCE)!
  assert.deepEqual(server.token_exchange, {
    enabled_subject_token_types: ['urn:ietf:params:oauth:token-type:access_token'],
  })
  assert.deepEqual(tenant.state.client(server.client_id!)?.grant_types, ['refresh_token'])
  assert.equal(tenant.state.resourceServer(TARGET)?.allow_offline_access, true)
})

test('a tenant of today refuses what 2019 had, and is told what to use instead', async (t) => {
  const changes = { 'issuers.tenant.profile': 'auth0-legacy' }
  const { management, wanted } = await start(t, { changes })
  await assert.rejects(apply(management, wanted, OPTIONS), {
    code: 'change_refused',
    message: /token_exchange.*use `profile: auth0`/,
  })
})

test('every body that is sent is as the Management API describes it', { skip }, async (t) => {
  const changes = {
    'apis.storefront.proofOfPossession': { mechanism: 'mtls', required: true },
    server: {
      listen: '127.0.0.1:0',
      publicOrigin: 'https://gateway.example',
      trustedProxies: ['10.0.0.0/8'],
    },
    provision: {
      audiences: {
        [TARGET]: {
          ...{ name: 'Orders', tokenLifetime: 600, tokenDialect: 'rfc9068_profile_authz' },
          ...{
            enforcePolicies: true,
            allowOfflineAccess: false,
            authorizationDetails: ['payment'],
          },
          scopes: { 'orders:write': 'Change orders' },
          proofOfPossession: { mechanism: 'dpop', required: false, requiredFor: 'all_clients' },
          subjectTypeAuthorization: { user: 'require_client_grant', client: 'deny_all' },
          consentPolicy: 'transactional-authorization-with-mfa',
        },
      },
      grants: [{ api: 'storefront', audience: TARGET, authorizationDetailsTypes: ['payment'] }],
    },
  }
  const { tenant, management, wanted, steps } = await start(t, { changes })
  await apply(management, wanted, OPTIONS)
  for (const breakIt of Object.values(BREAKS)) {
    breakIt(tenant)
    await apply(management, wanted, OPTIONS)
  }
  assert.deepEqual(done(await steps()), [])
  const sent = tenant.managementCalls().filter(({ method }) => method !== 'GET')
  assert.ok(sent.length > 10)
  for (const { method, target, body } of sent) {
    const [, kind = '', id] = target.replace('/api/v2', '').split('/')
    const judge = requestSchema(method, id === undefined ? `/${kind}` : `/${kind}/{id}`)
    assert.ok(judge(body), `${method} ${target} ${JSON.stringify(judge.errors)}`)
  }
})

test('an application whose refresh tokens are redeemed is given the policies of the routes, beside its own', async (t) => {
  const own = { audience: 'https://own.example', scope: ['a'] }
  const changes = {
    'routes[0].exchange': {
      ...{ grant: 'refresh-token', audience: TARGET, scopes: ['orders:read'] },
      ...{ client: { id: 'web', secret: 'secret' }, refreshTokenHeader: 'x-refresh-token' },
      returnRefreshToken: true,
    },
    'apis.storefront.client': undefined,
  }
  const { tenant, management, wanted, steps } = await start(t, { changes })
  const missing = apply(management, wanted, OPTIONS)
  await assert.rejects(missing, { code: 'impossible', message: /there is no client `web`/ })
  const refresh = { rotation_type: 'rotating', expiration_type: 'expiring', leeway: 7 } as const
  const lifetimes = { token_lifetime: 100, idle_token_lifetime: 50 }
  tenant.state.addClient({
    client_id: 'web',
    grant_types: ['authorization_code', 'refresh_token'],
    refresh_token: { ...refresh, ...lifetimes, policies: [own] },
  })
  await apply(management, wanted, OPTIONS)
  const { policies, leeway, token_lifetime: lifetime } = tenant.state.client('web')!.refresh_token
  assert.deepEqual(policies, [own, { audience: TARGET, scope: ['orders:read'] }])
  assert.deepEqual([leeway, lifetime], [7, 100])
  assert.equal(tenant.state.resourceServer(SOURCE)?.allow_offline_access, true)
  assert.deepEqual(done(await steps()), [])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createState } from '../../src/tenant/state.ts'
import { STOREFRONT, startTenant } from './ask.ts'

const API = { identifier: STOREFRONT, scopes: [{ value: 'read:orders' }] }

test('an API gets the defaults of a real tenant', () => {
  const server = createState().addResourceServer({ identifier: STOREFRONT })
  const { id, ...rest } = server
  assert.match(id, /^[0-9a-f]{24}$/)
  assert.deepEqual(rest, {
    identifier: STOREFRONT,
    scopes: [],
    signing_alg: 'RS256',
    token_lifetime: 86_400,
    token_dialect: 'access_token',
    enforce_policies: false,
    allow_offline_access: false,
    skip_consent_for_verifiable_first_party_clients: false,
    proof_of_possession: null,
    subject_type_authorization: {
      user: { policy: 'allow_all' },
      client: { policy: 'require_client_grant' },
    },
  })
})

test('an HS256 API without a secret is given one, and so is a client that needs it', () => {
  const state = createState()
  const server = state.addResourceServer({ identifier: STOREFRONT, signing_alg: 'HS256' })
  assert.match(server.signing_secret ?? '', /^[A-Za-z0-9]{32}$/)
  assert.match(state.addClient({}).client_secret ?? '', /^[A-Za-z0-9]{64}$/)
  assert.equal(state.addClient({ token_endpoint_auth_method: 'none' }).client_secret, undefined)
})

test('an API knows the client that it is, and has one only', () => {
  const state = createState()
  const server = state.addResourceServer(API)
  const linked = { app_type: 'resource_server', resource_server_identifier: STOREFRONT } as const
  assert.throws(() => state.addClient({ app_type: 'resource_server' }), TypeError)
  assert.throws(
    () => state.addClient({ ...linked, resource_server_identifier: 'https://nowhere.example' }),
    TypeError,
  )
  const client = state.addClient(linked)
  assert.equal(server.client_id, client.client_id)
  assert.throws(() => state.addClient(linked), /has a client already/)
  assert.equal(state.clients.size, 1)
})

test('a client grant is one for each client, API and kind of subject, within the API', () => {
  const state = createState()
  state.addResourceServer(API)
  const grant = { client_id: 'app', audience: STOREFRONT, scope: ['read:orders'] }
  assert.match(state.addClientGrant(grant).id, /^cgr_[A-Za-z0-9]{16}$/)
  assert.throws(() => state.addClientGrant(grant), /already/)
  state.addClientGrant({ ...grant, subject_type: 'user' })
  assert.throws(() => state.addClientGrant({ ...grant, client_id: 'b', scope: ['x'] }), /scope x/)
})

test('nothing is added twice', () => {
  const state = createState()
  state.addResourceServer(API)
  state.addUser('alice', 'wonderland')
  state.addClient({ client_id: 'app' })
  assert.throws(() => state.addResourceServer(API), TypeError)
  assert.throws(() => state.addUser('alice', 'other'), TypeError)
  assert.throws(() => state.addClient({ client_id: 'app' }), TypeError)
  assert.equal(state.users.get('alice')?.password, 'wonderland')
})

test('an empty tenant has nothing, and a seed adds to whatever there is', async (t) => {
  const empty = await startTenant(t, { empty: true })
  const { resourceServers, clients, clientGrants, users } = empty.state
  assert.deepEqual(
    [resourceServers.size, clients.size, clientGrants.size, users.size],
    [0, 0, 0, 0],
  )
  const seeded = await startTenant(t, {
    seed: (state) => void state.addResourceServer({ identifier: 'https://more.example' }),
  })
  assert.deepEqual(
    [...seeded.state.resourceServers.keys()],
    [
      STOREFRONT,
      'https://backoffice.example',
      'https://orders.internal',
      'https://inventory.internal',
      'https://more.example',
    ],
  )
})

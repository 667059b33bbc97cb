import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { stringify } from 'yaml'
import { createTenant, type Tenant } from '../../src/tenant/index.ts'
import { configuration, SOURCE } from '../provision/tenant.ts'
import { startUpstream } from '../system.ts'
import { folder } from '../folder.ts'
import { behalf, type Ended } from './behalf.ts'
import { behalfAgain } from './resident.ts'
import { signingKey } from '../tenant/signing-key.ts'

interface Setting {
  readonly tenant: Tenant
  readonly cwd: string
  readonly check: (flags?: readonly string[]) => Promise<Ended>
  readonly provision: () => Promise<Ended>
}

const WITH_TOKEN = ['--subject-token', 'storefront=token']

/** A tenant that was empty, set up by the real command, with a user's token in the file `token`. */
async function start(t: TestContext): Promise<Setting> {
  const upstream = await startUpstream(t)
  const tenant = await createTenant({ signingKey, empty: true })
  t.after(() => tenant.close())
  const changes = { 'routes[0].proxy.upstream': upstream.origin, 'routes[0].name': 'orders' }
  const cwd = await folder(t, { 'behalf.yaml': stringify(configuration(tenant.url, changes)) })
  const { clientId, clientSecret } = tenant.management
  const environment = { AUTH0_CLIENT_ID: clientId, AUTH0_CLIENT_SECRET: clientSecret }
  const provision = (): Promise<Ended> =>
    behalfAgain(['provision', '--apply', '--write-env', '.env'], { cwd, environment })
  const { code, err } = await provision()
  assert.equal(code, 0, err)
  tenant.state.addClient({
    ...{ client_id: 'spa', app_type: 'spa', token_endpoint_auth_method: 'none' },
    grant_types: ['password'],
  })
  tenant.addUser('carol')
  await writeFile(join(cwd, 'token'), await tenant.token({ user: 'carol', audience: SOURCE }))
  const check = (flags: readonly string[] = WITH_TOKEN): Promise<Ended> =>
    behalfAgain(['check', '--live', ...flags], { cwd })
  return { tenant, cwd, check, provision }
}

test('what is provisioned is proven: discovery, keys, an exchange, the upstream', async (t) => {
  const { tenant, check } = await start(t)
  const { code, out, err } = await check()
  assert.equal(code, 0, out + err)
  for (const step of ['discovery', 'keys', 'exchange', 'upstream']) {
    assert.match(out, new RegExp(`^ok +orders  ${step}  `, 'm'))
  }
  assert.equal(tenant.exchanges(), 1)
})

test('without a token the exchange is not tried, and that is said', async (t) => {
  const { tenant, check } = await start(t)
  const { code, out } = await check([])
  assert.equal(code, 0)
  assert.match(out, /^unproven +orders  exchange  storefront: .*--subject-token storefront=FILE$/m)
  assert.equal(tenant.exchanges(), 0)
})

const BREAKS: Readonly<Record<string, (tenant: Tenant) => void>> = {
  'the grant is gone': ({ state }) => {
    for (const { id } of state.clientGrants.values()) state.removeClientGrant(id)
  },
  'the client may not exchange': ({ state }) => {
    const [client] = state.clients.values()
    client!.token_exchange = { allow_any_profile_of_type: [] }
  },
  'consent is asked for': ({ state }) => {
    for (const server of state.resourceServers.values()) {
      server.skip_consent_for_verifiable_first_party_clients = false
    }
  },
}

for (const [name, breakIt] of Object.entries(BREAKS)) {
  test(`${name}: it fails, names provision, and provision mends it`, async (t) => {
    const { tenant, check, provision } = await start(t)
    breakIt(tenant)
    const { code, out } = await check()
    assert.equal(code, 1)
    assert.match(out, /^failed +orders  exchange  storefront: .*\n.*behalf provision/m)
    assert.equal((await provision()).code, 0)
    assert.equal((await check()).code, 0)
  })
}

test('a token that is none is told from a tenant that is not set up', async (t) => {
  const { cwd, check } = await start(t)
  await writeFile(join(cwd, 'token'), 'a.b.c')
  const { code, out } = await check()
  assert.equal(code, 1)
  assert.match(
    out,
    /exchange  storefront: invalid_token: .*\n.*a fresh one for https:\/\/storefront/,
  )
})

test('an issuer and an upstream that are gone are named, and no token is printed', async (t) => {
  const { tenant, cwd, check } = await start(t)
  const token = await tenant.token({ user: 'carol', audience: SOURCE })
  await writeFile(join(cwd, 'token'), token)
  await tenant.close()
  const { code, out, err } = await check(['--format', 'json', ...WITH_TOKEN])
  assert.equal(code, 1)
  const { ok, live } = JSON.parse(out) as {
    readonly ok: boolean
    readonly live: readonly {
      readonly step: string
      readonly outcome: string
      readonly mend?: string
    }[]
  }
  assert.equal(ok, false)
  assert.deepEqual(
    live.map(({ step, outcome }) => `${step} ${outcome}`),
    ['discovery failed', 'keys failed', 'exchange failed', 'upstream good'],
  )
  assert.ok(live.every(({ outcome, mend }) => (outcome === 'failed') === (mend !== undefined)))
  assert.ok(!(out + err).includes(token))
})

for (const [argv, message] of [
  [['check', ...WITH_TOKEN], /--subject-token needs --live/],
  [['check', '--live', '--subject-token', 'storefront'], /must be API=FILE/],
  [['check', '--live', '--subject-token', 'storefronts=token'], /there is no API `storefronts`/],
] as const) {
  test(`${argv.join(' ')}: exit 64`, async (t) => {
    const { cwd } = await start(t)
    const { code, err } = await behalf(argv, { cwd })
    assert.equal(code, 64)
    assert.match(err, message)
  })
}

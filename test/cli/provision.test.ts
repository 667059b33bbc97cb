import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { parseEnv } from 'node:util'
import { parse, stringify } from 'yaml'
import { createTenant, type Tenant } from '../../src/tenant/index.ts'
import { configuration, SOURCE } from '../provision/tenant.ts'
import { readConfig } from '../../src/config/load.ts'
import { bearer, startGateway, startUpstream } from '../system.ts'
import { folder } from '../folder.ts'
import { type Ended } from './behalf.ts'
import { behalfAgain } from './resident.ts'
import { signingKey } from '../tenant/signing-key.ts'

interface Setting {
  readonly tenant: Tenant
  readonly cwd: string
  readonly run: (
    flags?: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ) => Promise<Ended>
}

async function start(
  t: TestContext,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<Setting> {
  const tenant = await createTenant({ signingKey, empty: true })
  t.after(() => tenant.close())
  const cwd = await folder(t, { 'behalf.yaml': stringify(configuration(tenant.url, changes)) })
  const { clientId, clientSecret } = tenant.management
  const own = { AUTH0_CLIENT_ID: clientId, AUTH0_CLIENT_SECRET: clientSecret }
  return {
    tenant,
    cwd,
    run: (flags = [], environment = {}) =>
      behalfAgain(['provision', ...flags], { cwd, environment: { ...own, ...environment } }),
  }
}

const APPLY = ['--apply', '--write-env', '.env']

test('a plan exits with 2 and changes nothing; applied, with 0, and then nothing is to be done', async (t) => {
  const { tenant, cwd, run } = await start(t)
  const planned = await run()
  assert.equal(planned.code, 2, planned.err)
  assert.match(planned.out, /^\+ resource-server https:\/\/storefront\.example$/m)
  assert.match(planned.out, /^4 to create, 0 to change, 0 as they should be\.$/m)
  assert.equal(tenant.state.resourceServers.size, 0)
  const applied = await run(APPLY)
  assert.equal(applied.code, 0, applied.err)
  assert.equal((await stat(join(cwd, '.env'))).mode & 0o777, 0o600)
  const again = await run()
  assert.equal(again.code, 0, again.err)
  assert.match(again.out, /Nothing is to be done: 4 objects/)
  assert.equal((await run(['--apply'])).code, 0)
})

test('the plan as JSON names action, kind, name and fields', async (t) => {
  const { run } = await start(t)
  const { code, out } = await run(['--format', 'json'])
  assert.equal(code, 2)
  const { steps } = JSON.parse(out) as { readonly steps: readonly Record<string, unknown>[] }
  assert.deepEqual(steps[0], {
    action: 'create',
    kind: 'resource-server',
    name: SOURCE,
    fields: {
      identifier: { to: SOURCE },
      name: { to: 'storefront' },
      signing_alg: { to: 'RS256' },
      scopes: { to: [{ value: 'read:orders' }] },
    },
  })
})

test('from an empty tenant to a served request', async (t) => {
  const upstream = await startUpstream(t)
  const { tenant, cwd, run } = await start(t, {
    'routes[0].proxy.upstream': upstream.origin,
    'apis.storefront.signingSecret': '${SIGNING_SECRET}',
  })
  const { code, err } = await run(APPLY)
  assert.equal(code, 0, err)
  const environment = parseEnv(await readFile(join(cwd, '.env'), 'utf8'))
  const written = parse(await readFile(join(cwd, 'behalf.yaml'), 'utf8')) as object
  const value = JSON.parse(
    JSON.stringify(written).replaceAll(/\$\{(\w+)\}/g, (_, name: string) => environment[name]!),
  ) as object
  const gateway = await startGateway(t, value)
  tenant.state.addClient({
    ...{ client_id: 'spa', app_type: 'spa', token_endpoint_auth_method: 'none' },
    grant_types: ['password'],
  })
  tenant.addUser('carol')
  const token = await tenant.token({ user: 'carol', audience: SOURCE })
  const answer = await fetch(`${gateway.origin}/orders`, bearer(token))
  assert.equal(answer.status, 200)
  assert.equal((await fetch(`${gateway.origin}/orders`)).status, 401)
})

test('a private key is made, kept before the client is, and good for an assertion', async (t) => {
  const { tenant, cwd, run } = await start(t, {
    'apis.storefront.client': { id: '${CLIENT_ID}', privateKey: '${CLIENT_KEY}' },
  })
  const { code, out, err } = await run(APPLY)
  assert.equal(code, 0, err)
  const environment = parseEnv(await readFile(join(cwd, '.env'), 'utf8'))
  assert.ok(
    readConfig(
      configuration(tenant.url, {
        'apis.storefront.client': { id: '${CLIENT_ID}', privateKey: '${CLIENT_KEY}' },
      }),
      { environment },
    ),
  )
  assert.doesNotMatch(out + err, /PRIVATE KEY/)
  assert.equal((await run()).code, 0)
})

test('variables that are set keep their values, and other lines stay', async (t) => {
  const { tenant, cwd, run } = await start(t)
  const before = '# mine\nOTHER=1\nCLIENT_ID=\n'
  await writeFile(join(cwd, '.env'), before, { mode: 0o644 })
  assert.equal((await run(APPLY)).code, 0)
  const text = await readFile(join(cwd, '.env'), 'utf8')
  const [client] = tenant.state.clients.values()
  assert.equal(
    text,
    `# mine\nOTHER=1\nCLIENT_ID=${client!.client_id}\nCLIENT_SECRET=${client!.client_secret}\n`,
  )
  assert.equal((await stat(join(cwd, '.env'))).mode & 0o777, 0o600)
})

test('no secret is printed, unless it is asked for', async (t) => {
  const changes = { 'apis.storefront.signingSecret': '${SIGNING_SECRET}' }
  const secrets = ({ state }: Tenant): readonly string[] => [
    ...[...state.clients.values()].map((client) => client.client_secret!),
    ...[...state.resourceServers.values()].flatMap((server) => server.signing_secret ?? []),
  ]
  const quiet = await start(t, changes)
  const { out, err } = await quiet.run(APPLY)
  assert.equal(secrets(quiet.tenant).length, 2)
  for (const secret of secrets(quiet.tenant)) assert.ok(!(out + err).includes(secret))
  const loud = await start(t, changes)
  const asked = await loud.run(['--apply', '--write-env', '-'])
  for (const secret of secrets(loud.tenant)) assert.ok(asked.out.includes(secret))
})

test('what nobody would know afterwards is not made: exit 64', async (t) => {
  const { tenant, run } = await start(t)
  const { code, err } = await run(['--apply'])
  assert.equal(code, 64)
  assert.match(err, /--write-env FILE is needed: nothing sets CLIENT_ID, CLIENT_SECRET/)
  assert.equal(tenant.state.resourceServers.size, 0)
})

test('every scope that is missing is named before anything is changed', async (t) => {
  const { tenant, run } = await start(t)
  const few = await tenant.managementToken('read:resource_servers read:clients read:client_grants')
  const given = { AUTH0_CLIENT_ID: '', AUTH0_CLIENT_SECRET: '', AUTH0_MANAGEMENT_TOKEN: few }
  assert.equal((await run([], given)).code, 2)
  const { code, err } = await run(APPLY, given)
  assert.equal(code, 1)
  assert.match(err, /lacks create:resource_servers, create:clients, create:client_grants/)
  assert.equal(tenant.state.resourceServers.size, 0)
  const { out } = await run(['--scopes'])
  const all = await tenant.managementToken(out.trim().split('\n').join(' '))
  assert.equal((await run(APPLY, { ...given, AUTH0_MANAGEMENT_TOKEN: all })).code, 0)
})

for (const [name, given, message] of [
  ['no credentials', { AUTH0_CLIENT_ID: '' }, /no credentials.*AUTH0_CLIENT_ID/s],
  ['a bad secret', { AUTH0_CLIENT_SECRET: 'another' }, /no token.*invalid_client|no token.*40[13]/],
  ['a bad token', { AUTH0_CLIENT_ID: '', AUTH0_MANAGEMENT_TOKEN: 'a.b.c' }, /401/],
] as const) {
  test(`with ${name} it ends with 1 and one line`, async (t) => {
    const { run } = await start(t)
    const { code, err } = await run([], given)
    assert.equal(code, 1)
    assert.match(err, message)
    assert.equal(err.trim().split('\n').length, 1)
  })
}

test('an id that the tenant does not have is a contradiction, and nothing is changed', async (t) => {
  const { tenant, run } = await start(t)
  const { code, err } = await run(['--apply'], { CLIENT_ID: 'another', CLIENT_SECRET: 'secret' })
  assert.equal(code, 1)
  assert.match(err, /the tenant has no client `another`; leave its variable unset/)
  assert.equal(tenant.state.resourceServers.size, 0)
})

for (const [format, line] of [
  ['terraform', 'resource "auth0_client_grant" "storefront_https_orders_internal" {'],
  ['curl', "call POST 'client-grants' '{"],
  ['auth0-deploy-cli', 'clientGrants:'],
] as const) {
  test(`--format ${format} prints the plan for that tool: exit 2 while something is to be done`, async (t) => {
    const { tenant, run } = await start(t)
    const { code, out, err } = await run(['--format', format])
    assert.equal(code, 2, err)
    assert.ok(out.split('\n').includes(line), out)
    assert.equal(tenant.state.resourceServers.size, 0)
    for (const more of [['--apply'], ['resource-server', SOURCE, '--set', 'name=a']]) {
      const refused = await run(['--format', format, ...more])
      assert.equal(refused.code, 64)
      assert.match(refused.err, /prints the whole plan, and applies nothing/)
    }
    assert.equal((await run(APPLY)).code, 0)
    assert.equal((await run(['--format', format])).code, 0)
  })
}

test('what --replace deletes is told before, and --apply alone deletes nothing', async (t) => {
  const { tenant, run } = await start(t)
  assert.equal((await run(APPLY)).code, 0)
  const { state } = tenant
  const [right] = state.clientGrants.values()
  const { id: _, ...rest } = right!
  state.removeClientGrant(right!.id)
  const wrong = state.addClientGrant({ ...rest, subject_type: 'client' })
  assert.doesNotMatch((await run()).out, /delete/)
  const planned = await run(['--replace'])
  assert.equal(planned.code, 2, planned.err)
  const name = 'client-grant storefront -> https://orders.internal'
  assert.ok(
    planned.out.includes(`\n! ${name}\n    deletes client-grant ${wrong.id}: its subject_type `),
  )
  assert.match(planned.out, /subject_type +"client" -> "user"/)
  assert.match(planned.out, /^0 to create, 0 to change, 1 to replace \(1 deleted\), 3 as /m)
  const { out } = await run(['--replace', '--format', 'json'])
  const { steps } = JSON.parse(out) as { readonly steps: readonly Record<string, unknown>[] }
  const [step] = steps.filter(({ action }) => action === 'replace')
  const because = 'its subject_type cannot be changed, and nothing asks for it'
  assert.deepEqual(step?.['deletes'], [{ kind: 'client-grant', id: wrong.id, because }])
  assert.equal(state.clientGrants.has(wrong.id), true)
  const applied = await run(['--replace', '--apply'])
  assert.equal(applied.code, 0, applied.err)
  assert.match(applied.err, /^replacing client-grant storefront/m)
  assert.equal(state.clientGrants.has(wrong.id), false)
  assert.equal((await run(['--replace'])).code, 0)
})

test('the scopes that deleting takes are listed, and asked for, with --replace alone', async (t) => {
  const { tenant, run } = await start(t)
  const [usual, more] = [await run(['--scopes']), await run(['--scopes', '--replace'])]
  assert.doesNotMatch(usual.out, /delete:/)
  assert.match(more.out, /^delete:client_grants$/m)
  assert.equal((await run(APPLY)).code, 0)
  const few = await tenant.managementToken(usual.out.trim().split('\n').join(' '))
  const given = { AUTH0_CLIENT_ID: '', AUTH0_CLIENT_SECRET: '', AUTH0_MANAGEMENT_TOKEN: few }
  const [grant] = tenant.state.clientGrants.values()
  const flags = ['client-grant', grant!.id, '--set', 'subject_type=client', '--replace']
  const { code, err } = await run([...flags, '--apply'], given)
  assert.equal(code, 1)
  assert.match(err, /lacks delete:client_grants; nothing was changed/)
  const all = await tenant.managementToken(more.out.trim().split('\n').join(' '))
  assert.equal(
    (await run([...flags, '--apply'], { ...given, AUTH0_MANAGEMENT_TOKEN: all })).code,
    0,
  )
})

test('a limit of the tenant is waited for', async (t) => {
  const tenant = await createTenant({
    signingKey,
    empty: true,
    managementLimit: { rate: 4, burst: 4 },
  })
  t.after(() => tenant.close())
  const cwd = await folder(t, { 'behalf.yaml': stringify(configuration(tenant.url)) })
  const { clientId, clientSecret } = tenant.management
  const environment = { AUTH0_CLIENT_ID: clientId, AUTH0_CLIENT_SECRET: clientSecret }
  const { code, err } = await behalfAgain(['provision', ...APPLY], { cwd, environment })
  assert.equal(code, 0, err)
})

test('one object is set by hand: shown, then sent, then as asked for', async (t) => {
  const { tenant, run } = await start(t)
  assert.equal((await run(APPLY)).code, 0)
  const lifetime = ['resource-server', SOURCE, '--set', 'token_lifetime=600', '--set', 'name=Shop']
  const planned = await run(lifetime)
  assert.equal(planned.code, 2, planned.err)
  assert.match(planned.out, /token_lifetime +86400 -> 600/)
  assert.equal(tenant.state.resourceServer(SOURCE)?.token_lifetime, 86_400)
  const before = tenant.managementCalls().length
  assert.equal((await run([...lifetime, '--apply'])).code, 0)
  const sent = tenant
    .managementCalls()
    .slice(before)
    .filter(({ method }) => method !== 'GET')
  assert.deepEqual(
    sent.map(({ method, body }) => [method, body]),
    [['PATCH', { token_lifetime: 600, name: 'Shop' }]],
  )
  assert.equal((await run(lifetime)).code, 0)
})

test('an API that the tenant lacks is made, and so is a grant', async (t) => {
  const { tenant, run } = await start(t)
  assert.equal((await run(APPLY)).code, 0)
  const identifier = 'https://audit.internal'
  const api = [
    'resource-server',
    identifier,
    '--set',
    'scopes=[{"value":"audit:write"}]',
    '--apply',
  ]
  assert.equal((await run(api)).code, 0)
  assert.deepEqual(tenant.state.resourceServer(identifier)?.scopes, [{ value: 'audit:write' }])
  const [client] = tenant.state.clients.values()
  const fields = [
    `client_id=${client!.client_id}`,
    `audience=${identifier}`,
    'scope=["audit:write"]',
    'subject_type=user',
  ]
  const grant = ['client-grant', 'new', ...fields.flatMap((one) => ['--set', one]), '--apply']
  const made = await run(grant)
  assert.equal(made.code, 0, made.err)
  const found = [...tenant.state.clientGrants.values()].find(
    ({ audience }) => audience === identifier,
  )
  assert.deepEqual(found?.scope, ['audit:write'])
  const all = ['client-grant', found!.id, '--set', 'allow_all_scopes=true', '--apply']
  assert.equal((await run(all)).code, 0)
  assert.equal(found?.allow_all_scopes, true)
  const other = await run(['client-grant', found!.id, '--set', 'audience=https://other.internal'])
  assert.equal(other.code, 1)
  assert.match(other.err, /audience of a client grant cannot be changed/)
})

for (const [field, message] of [
  ['token_lifetime=2592001', /token_lifetime: /],
  ['signing_alg=ES256', /signing_alg: /],
  ['name=<b>', /name: must not hold/],
  ['token_exchange={"enabled_subject_token_types":["a"]}', /2019 is gone/],
  ['token_lifetimes=1', /token_lifetimes/],
] as const) {
  test(`a field that Auth0 would refuse is refused before anybody is asked: ${field}`, async (t) => {
    const { tenant, run } = await start(t)
    const { code, err } = await run(['resource-server', SOURCE, '--set', field, '--apply'])
    assert.equal(code, 1)
    assert.match(err, message)
    assert.deepEqual(tenant.managementCalls(), [])
  })
}

test('a legacy tenant is told what the guides of 2019 say, field by field', async (t) => {
  const tenant = await createTenant({ signingKey, empty: true, generation: 'legacy' })
  t.after(() => tenant.close())
  const changes = { 'issuers.tenant.profile': 'auth0-legacy' }
  const cwd = await folder(t, { 'behalf.yaml': stringify(configuration(tenant.url, changes)) })
  const { clientId, clientSecret } = tenant.management
  const environment = { AUTH0_CLIENT_ID: clientId, AUTH0_CLIENT_SECRET: clientSecret }
  const type = 'urn:ietf:params:oauth:token-type:access_token'
  const fields = [
    `token_exchange={"enabled_subject_token_types":["${type}"]}`,
    'client={"grant_types":["refresh_token"]}',
  ]
  const flags = fields.flatMap((one) => ['--set', one])
  const run = (more: readonly string[]) =>
    behalfAgain(['provision', 'resource-server', SOURCE, ...flags, ...more], { cwd, environment })
  const { code, err } = await run(['--apply'])
  assert.equal(code, 0, err)
  assert.deepEqual(tenant.state.resourceServer(SOURCE)?.token_exchange, {
    enabled_subject_token_types: [type],
  })
  assert.equal((await run([])).code, 0)
})

for (const [argv, message] of [
  [['--set', 'a=1'], /--set needs/],
  [['client', 'id'], /there is no kind `client`/],
  [['resource-server'], /name one resource-server/],
  [['resource-server', SOURCE], /--set FIELD=VALUE is needed/],
  [['resource-server', SOURCE, '--set', 'a'], /--set must be FIELD=VALUE/],
] as const) {
  test(`provision ${argv.join(' ')}: exit 64`, async (t) => {
    const { run } = await start(t)
    const { code, err } = await run(argv)
    assert.equal(code, 64)
    assert.match(err, message)
  })
}

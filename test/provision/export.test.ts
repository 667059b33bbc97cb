import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { parseEnv, promisify } from 'node:util'
import fc from 'fast-check'
import { parse } from 'yaml'
import { readConfig } from '../../src/config/load.ts'
import { apply } from '../../src/provision/apply.ts'
import { createBlanks } from '../../src/provision/blanks.ts'
import { desired } from '../../src/provision/desired.ts'
import { curlScript } from '../../src/provision/export/curl.ts'
import { deployCli } from '../../src/provision/export/deploy-cli.ts'
import type { Exported } from '../../src/provision/export/objects.ts'
import { terraform } from '../../src/provision/export/terraform.ts'
import { plan } from '../../src/provision/plan.ts'
import { readPresent } from '../../src/provision/present.ts'
import type { TenantOptions } from '../../src/tenant/index.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { parseHcl } from './hcl.ts'
import {
  configuration,
  SOURCE,
  start,
  TARGET,
  wholeOf,
  type Setting,
  type Wants,
} from './tenant.ts'

const OPTIONS = { pruneScopes: false, lagMs: 1 }

function isInstalled(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore', timeout: 20_000 })
    return true
  } catch {
    return false
  }
}

const skipCurl = isInstalled('curl') ? false : 'there is no curl here'
const skipTerraform = isInstalled('terraform') ? false : 'there is no terraform here'

/** What a plan is made of, for a tenant as it is now. */
async function exportedOf(
  { tenant, management }: Setting,
  { changes, environment = {} }: Wants = {},
  options = { pruneScopes: false, replace: false },
): Promise<Exported> {
  const { list: blanks, variableOf, ...reading } = createBlanks()
  const config = readConfig(configuration(tenant.url, changes), { environment, ...reading })
  const wanted = await desired(config, config.issuers[0]!, blanks)
  const present = await readPresent(management, wanted)
  const audiences = new Map(config.apis.map(({ name, audience }) => [name, audience]))
  const steps = plan(wanted, present, options)
  const url = `${tenant.url}api/v2/`
  return { url, wanted, present, steps, blanks, audiences, variableOf }
}

interface Ran {
  readonly variables: Readonly<Record<string, string | undefined>>
}

/** Runs a script where nothing else is, and fails where it leaves anything but variables. */
async function run(
  t: TestContext,
  { tenant }: Setting,
  script: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const folder = await mkdtemp(join(tmpdir(), 'behalf-script-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'script'), script)
  const env = {
    PATH: process.env['PATH'],
    AUTH0_MANAGEMENT_TOKEN: await tenant.managementToken(),
    TMPDIR: folder,
    ...environment,
  }
  await promisify(execFile)('sh', ['script'], { cwd: folder, env, timeout: 60_000 })
  const left = await readdir(folder)
  assert.deepEqual(left.filter((name) => name !== '.env').toSorted(), ['script'])
  if (!left.includes('.env')) return { variables: {} }
  assert.equal((await stat(join(folder, '.env'))).mode & 0o777, 0o600)
  return { variables: parseEnv(await readFile(join(folder, '.env'), 'utf8')) }
}

const KEY = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})

const SIGNING_SECRET = `a secret with "quotes", \\backslashes\\, $(touch x) and 'more'`

const RICH: Wants = {
  changes: {
    'apis.storefront.algorithms': ['HS256'],
    'apis.storefront.signingSecret': '${SIGNING_SECRET}',
    provision: {
      audiences: {
        [TARGET]: {
          ...{ name: 'Orders', tokenLifetime: 600, tokenDialect: 'rfc9068_profile_authz' },
          ...{ enforcePolicies: true, allowOfflineAccess: false },
          authorizationDetails: ['payment', 'refund'],
          scopes: { 'orders:write': 'Change orders' },
          proofOfPossession: { mechanism: 'dpop', required: false, requiredFor: 'all_clients' },
          subjectTypeAuthorization: { user: 'require_client_grant', client: 'deny_all' },
          tokenEncryption: {
            encryptionKey: { alg: 'RSA-OAEP-256', pem: KEY.publicKey, kid: 'one' },
          },
          consentPolicy: 'transactional-authorization-with-mfa',
        },
      },
      grants: [{ api: 'storefront', audience: TARGET, authorizationDetailsTypes: ['payment'] }],
    },
  },
  environment: { SIGNING_SECRET },
}

const KEYED: Wants = {
  changes: { 'apis.storefront.client': { id: '${CLIENT_ID}', privateKey: KEY.privateKey } },
}

const LEGACY: Wants = { changes: { 'issuers.tenant.profile': 'auth0-legacy' } }

const PLANS: Readonly<
  Record<string, { wants: Wants; options?: TenantOptions; before?: (setting: Setting) => void }>
> = {
  'from nothing': { wants: {} },
  'with all that can be said of a target, and a signing secret': { wants: RICH },
  'with a key': { wants: KEYED },
  'as in 2019': { wants: LEGACY, options: { generation: 'legacy' } },
  'where some of it is there, and not as it should be': {
    wants: RICH,
    before({ tenant: { state } }) {
      state.addResourceServer({ identifier: SOURCE, signing_alg: 'PS256', name: 'Shop' })
      state.addResourceServer({ identifier: TARGET, scopes: [{ value: 'other' }] })
      state.addClient({
        ...{ client_id: 'shop', name: 'Shop', client_secret: 'of the tenant' },
        ...{ app_type: 'resource_server', resource_server_identifier: SOURCE },
      })
      state.addClientGrant({
        ...{ client_id: 'shop', audience: TARGET, scope: ['other'], subject_type: 'user' },
      })
    },
  },
  'where the client has another key': {
    wants: KEYED,
    before({ tenant: { state } }) {
      state.addResourceServer({ identifier: SOURCE })
      state.addClient({
        ...{ client_id: 'shop', name: 'Shop', app_type: 'resource_server' },
        ...{ resource_server_identifier: SOURCE, token_endpoint_auth_method: null },
        client_authentication_methods: { private_key_jwt: { credentials: [{ id: 'cred_old' }] } },
        credentials: [
          {
            ...{ id: 'cred_old', credential_type: 'public_key', kid: 'another-key', alg: 'RS256' },
            ...{ pem: KEY.publicKey, created_at: '', updated_at: '' },
          },
        ],
      })
    },
  },
}

for (const [what, { wants, options = {}, before }] of Object.entries(PLANS)) {
  test(`the script leaves the tenant as --apply does: ${what}`, { skip: skipCurl }, async (t) => {
    const applied = await start(t, wants, options)
    before?.(applied)
    await apply(applied.management, applied.wanted, OPTIONS)
    const scripted = await start(t, wants, options)
    before?.(scripted)
    const text = curlScript(await exportedOf(scripted, wants))
    assert.ok(!text.includes(SIGNING_SECRET))
    const { variables } = await run(t, scripted, text, { SIGNING_SECRET })
    assert.deepEqual(wholeOf(scripted.tenant), wholeOf(applied.tenant))
    const { steps } = await exportedOf(scripted, wants)
    assert.ok(steps.every(({ action }) => action === 'unchanged'))
    if (before !== undefined) return
    const client = scripted.tenant.state.client(variables['CLIENT_ID']!)
    assert.equal(client?.resource_server_identifier, SOURCE)
    if (wants !== KEYED) assert.equal(variables['CLIENT_SECRET'], client.client_secret)
  })
}

test('a script replaces what --replace replaces', { skip: skipCurl }, async (t) => {
  const spoil = async (setting: Setting): Promise<void> => {
    await apply(setting.management, setting.wanted, OPTIONS)
    const { state } = setting.tenant
    const [right] = state.clientGrants.values()
    const { id: _, ...rest } = right!
    state.removeClientGrant(right!.id)
    state.addClientGrant({ ...rest, subject_type: 'client' })
  }
  const [applied, scripted] = [await start(t), await start(t)]
  for (const one of [applied, scripted]) await spoil(one)
  await apply(applied.management, applied.wanted, { ...OPTIONS, replace: true })
  const replacing = { pruneScopes: false, replace: true }
  await run(t, scripted, curlScript(await exportedOf(scripted, {}, replacing)))
  assert.deepEqual(wholeOf(scripted.tenant), wholeOf(applied.tenant))
})

test(
  'a script that is refused says by whom, ends there, and shows no secret',
  { skip: skipCurl },
  async (t) => {
    const setting = await start(t, RICH)
    const text = curlScript(await exportedOf(setting, RICH))
    setting.tenant.fault({ kind: 'conflict', management: 'POST /clients' })
    await assert.rejects(
      run(t, setting, text, { SIGNING_SECRET }),
      (error: Error & { stderr: string }) => {
        assert.match(error.stderr, /POST clients: .*409/)
        assert.ok(!error.stderr.includes(SIGNING_SECRET))
        return true
      },
    )
    assert.equal(setting.tenant.state.clientGrants.size, 0)
    await assert.rejects(run(t, setting, text), /SIGNING_SECRET: is needed/)
  },
)

/** Whatever a shell, a template or a keyword could be made of. */
const HOSTILE = fc
  .array(
    fc.constantFrom(
      ...[
        "'",
        '"',
        '\\',
        '`',
        '$',
        '{',
        '}',
        '(',
        ')',
        '%',
        '#',
        '@',
        '##',
        '@@',
        '##X##',
        '@@X@@',
      ],
      ...[
        '${',
        '%{',
        '$${',
        '%%{',
        '$(touch x)',
        '`touch x`',
        '\n',
        '\r',
        '\t',
        ' ',
        ';',
        '&',
        '|',
      ],
      ...[
        '\b',
        '\f',
        '\u0000',
        '\u007f',
        '\u009b',
        '\u2028',
        '\ufeff',
        'é',
        '🙂',
        '- ',
        ': ',
        "'\\''",
      ],
      ...['X', 'x', '\\u0024{', '\\b', 'EOF', '*/', '//', '<<', '!', '~', '%s', '-'],
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((parts) => parts.join(''))

const RUNS = { numRuns: 40, seed: 20_261_121 }

/** A tenant's objects with hostile names. In variables, since the configuration has a `${` of its own. */
function hostile(scopes: readonly string[], text: string): Wants {
  const environment = Object.fromEntries([
    ['TEXT', text],
    ['NAME', `n${text.replaceAll(/[<>]/g, '')}`],
    ...scopes.map((scope, index) => [`SCOPE_${index}`, scope]),
  ]) as Readonly<Record<string, string>>
  return {
    environment,
    changes: {
      provision: {
        audiences: {
          [TARGET]: {
            name: '${NAME}',
            scopes: Object.fromEntries(scopes.map((scope) => [scope, '${TEXT}'])),
          },
          [`https://x.example/${text}`]: {},
        },
        grants: [
          {
            ...{ api: 'storefront', audience: TARGET },
            scopes: scopes.map((_, index) => `\${SCOPE_${index}}`),
          },
        ],
      },
    },
  }
}

test(
  'no name, scope or description leaves its quotes in a script',
  { skip: skipCurl },
  async (t) => {
    const scopes = [...new Set(fc.sample(HOSTILE, { numRuns: 60, seed: RUNS.seed }))]
    const wants = hostile(scopes, fc.sample(HOSTILE, { numRuns: 12, seed: 7 }).join(''))
    const [applied, scripted] = [await start(t, wants), await start(t, wants)]
    await apply(applied.management, applied.wanted, OPTIONS)
    await run(t, scripted, curlScript(await exportedOf(scripted, wants)), { X: 'y' })
    assert.deepEqual(wholeOf(scripted.tenant), wholeOf(applied.tenant))
  },
)

/** As auth0-deploy-cli does, before it reads the YAML. */
function withKeywords(text: string, values: Readonly<Record<string, string>>): string {
  return Object.entries(values).reduce(
    (all, [name, value]) =>
      all
        .replaceAll(new RegExp(`'@@${name}@@'|"@@${name}@@"|@@${name}@@`, 'g'), () =>
          JSON.stringify(value),
        )
        .replaceAll(`##${name}##`, () => value),
    text,
  )
}

type Sections = Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>

function bodies({ steps }: Exported, kind: string): readonly object[] {
  return steps
    .filter((step) => step.kind === kind)
    .map(({ fields }) =>
      Object.fromEntries(Object.entries(fields).map(([name, { to }]) => [name, to])),
    )
}

test('YAML that is read back is what would be sent, whatever the names', async (t) => {
  const setting = await start(t)
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(HOSTILE, { minLength: 1, maxLength: 4 }),
      HOSTILE,
      async (scopes, text) => {
        const exported = await exportedOf(setting, hostile(scopes, text))
        const yaml = withKeywords(deployCli(exported), { X: 'replaced', CLIENT_SECRET: 'replaced' })
        const read = parse(yaml) as Sections
        assert.deepEqual(read['resourceServers'], bodies(exported, 'resource-server'))
        assert.deepEqual(read['clients'], bodies(exported, 'client'))
        const grants = bodies(exported, 'client-grant')
        const name = String(read['clients']?.[0]?.['name'])
        assert.deepEqual(
          read['clientGrants'],
          grants.map((one) => ({ ...one, client_id: name })),
        )
      },
    ),
    RUNS,
  )
})

test('HCL that is read back holds every name and scope as it is, and no template', async (t) => {
  const setting = await start(t)
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(HOSTILE, { minLength: 1, maxLength: 4 }),
      HOSTILE,
      async (scopes, text) => {
        const exported = await exportedOf(setting, hostile(scopes, text))
        const blocks = parseHcl(terraform(exported))
        const target = blocks.find(({ attributes }) => attributes['identifier'] === TARGET)
        const [wanted] = exported.wanted.servers.filter(({ identifier }) => identifier === TARGET)
        assert.equal(target?.attributes['name'], wanted?.fields['name'])
        const [, name] = target!.labels
        const [set] = blocks.filter(
          ({ labels }) => labels[0] === 'auth0_resource_server_scopes' && labels[1] === name,
        )
        assert.deepEqual(
          set?.blocks.map(({ attributes }) => [attributes['name'], attributes['description']]),
          (wanted!.fields['scopes'] as readonly Record<string, unknown>[]).map(
            ({ value, description }) => [value, description],
          ),
        )
      },
    ),
    RUNS,
  )
})

test('Terraform reads each string as it was meant', { skip: skipTerraform }, async (t) => {
  const setting = await start(t)
  const folder = await mkdtemp(join(tmpdir(), 'behalf-terraform-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const scopes = [...new Set(fc.sample(HOSTILE, { numRuns: 60, seed: RUNS.seed }))]
  const exported = await exportedOf(setting, hostile(scopes, 'text'))
  const line = terraform(exported)
    .split('\n')
    .find((one) => one.startsWith('  scopes       = ['))
  await writeFile(join(folder, 'main.tf'), `locals {\n${line}\n}\n`)
  const child = promisify(execFile)('terraform', ['console'], { cwd: folder, timeout: 60_000 })
  child.child.stdin?.end('base64encode(jsonencode(local.scopes))\n')
  const { stdout } = await child
  const [, encoded = ''] = /"([A-Za-z0-9+/=]+)"/.exec(stdout) ?? []
  const [grant] = exported.wanted.grants
  // What Terraform calls JSON has these spelled out; it is JSON all the same.
  assert.deepEqual(JSON.parse(Buffer.from(encoded, 'base64').toString()), grant?.fields['scope'])
})

test('the layout is that of terraform fmt', { skip: skipTerraform }, async (t) => {
  const setting = await start(t, RICH)
  for (const wants of [RICH, KEYED, {}]) {
    const text = terraform(await exportedOf(setting, wants))
    const child = promisify(execFile)('terraform', ['fmt', '-'], { timeout: 60_000 })
    child.child.stdin?.end(text)
    assert.equal((await child).stdout, text)
  }
})

const FORMATS = { terraform, curl: curlScript, 'auth0-deploy-cli': deployCli }

for (const [format, print] of Object.entries(FORMATS)) {
  for (const state of ['empty', 'half'] as const) {
    test(`${format}, for a tenant that is ${state}: as written down`, async (t) => {
      const setting = await start(t, RICH)
      if (state === 'half')
        PLANS['where some of it is there, and not as it should be']?.before?.(setting)
      const ids = [...setting.tenant.state.resourceServers.values()].map(({ id }) => id)
      const grants = [...setting.tenant.state.clientGrants.keys()]
      let text = print(await exportedOf(setting, RICH)).replaceAll(
        setting.tenant.url,
        'https://tenant.example/',
      )
      for (const [index, id] of ids.entries()) text = text.replaceAll(id, `id-of-api-${index + 1}`)
      for (const id of grants) text = text.replaceAll(id, 'cgr_id')
      const pem = JSON.stringify(KEY.publicKey).slice(1, -1)
      assert.ok(text.includes(pem))
      text = text.replaceAll(pem, '(PEM)')
      const file = join('test', 'provision', 'golden', `${format}-${state}.txt`)
      if (process.env['WRITE_GOLDEN'] !== undefined) await writeFile(file, text)
      assert.equal(text, await readFile(file, 'utf8'))
    })
  }
}

test('no format tells a secret, whether the configuration or the tenant has it', async (t) => {
  const setting = await start(t, RICH)
  await apply(setting.management, setting.wanted, OPTIONS)
  const [client] = setting.tenant.state.clients.values()
  client!.token_endpoint_auth_method = 'none'
  setting.tenant.state.resourceServer(SOURCE)!.signing_secret =
    'another secret, of the tenant alone'
  const secrets = [
    SIGNING_SECRET,
    client!.client_secret!,
    'another secret, of the tenant alone',
    KEY.privateKey,
  ]
  for (const print of Object.values(FORMATS)) {
    const text = print(await exportedOf(setting, RICH))
    for (const secret of secrets)
      assert.ok(!text.includes(secret) && !text.includes(JSON.stringify(secret)))
    assert.match(text, /SIGNING_SECRET/)
  }
})

for (const [what, wants, message, formats] of [
  [
    'a private key that nobody has',
    { changes: { 'apis.storefront.client': { id: '${CLIENT_ID}', privateKey: '${CLIENT_KEY}' } } },
    /holds public keys: set CLIENT_KEY first/,
    ['terraform', 'curl', 'auth0-deploy-cli'],
  ],
  [
    'a key with a name of its own',
    {
      changes: {
        'apis.storefront.client': {
          id: '${CLIENT_ID}',
          privateKey: KEY.privateKey,
          keyId: 'a-name-of-its-own',
        },
      },
    },
    /client\.keyId: .* leave it out/,
    ['terraform', 'auth0-deploy-cli'],
  ],
  [
    'the exchange of 2019',
    LEGACY,
    /`--format curl` prints its calls/,
    ['terraform', 'auth0-deploy-cli'],
  ],
] as const) {
  test(`${what} is refused by formats that cannot tell it`, async (t) => {
    const setting = await start(t, LEGACY, wants === LEGACY ? { generation: 'legacy' } : {})
    const exported = await exportedOf(setting, wants)
    for (const [format, print] of Object.entries(FORMATS)) {
      const isRefused = (formats as readonly string[]).includes(format)
      if (isRefused) assert.throws(() => print(exported), { code: 'impossible', message }, format)
      else assert.ok(print(exported).length > 0)
    }
  })
}

test('a certificate is told to each tool', { skip: NO_OPENSSL }, async (t) => {
  const client = { id: '${CLIENT_ID}', ...createAuthority().issue('storefront') }
  const wants = { changes: { 'apis.storefront.client': client } }
  const exported = await exportedOf(await start(t, wants), wants)
  const [, credentials] = parseHcl(terraform(exported)).filter(
    ({ labels }) => labels[1] === 'storefront' && labels[0]?.startsWith('auth0_client'),
  )
  assert.equal(credentials?.attributes['authentication_method'], 'tls_client_auth')
  const { attributes } = credentials.blocks[0]!.blocks[0]!
  const pem = String(exported.wanted.clients[0]?.proof?.credential['pem'])
  assert.deepEqual(attributes, { credential_type: 'cert_subject_dn', name: 'Behalf', pem })
  const [read] = (parse(deployCli(exported)) as Sections)['clients']!
  assert.deepEqual(read?.['client_authentication_methods'], {
    tls_client_auth: { credentials: [{ credential_type: 'cert_subject_dn', name: 'Behalf', pem }] },
  })
  assert.equal('token_endpoint_auth_method' in read, false)
})

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { createSecrets } from '../../src/server/secrets.ts'
import { createTenant, type Tenant } from '../../src/tenant/index.ts'
import { listen, unsignedJwt } from '../support.ts'
import { folder } from '../folder.ts'
import { behalf, MAIN, type Ended } from './behalf.ts'
import { behalfAgain } from './resident.ts'
import { signingKey } from '../tenant/signing-key.ts'

const CLIENT_SECRET = 'demo-only-storefront-client-secret-0001'
const STOREFRONT = 'https://storefront.example'
const ORDERS = 'https://orders.internal'

interface Setting {
  readonly tenant: Tenant
  readonly cwd: string
  /** Runs the command on a file that holds this token. */
  exchange(token: string, ...argv: readonly string[]): Promise<Ended>
}

interface Given {
  /** YAML of the routes' `exchange`. */
  readonly exchange?: string
  /** YAML of the API's `proofOfPossession`. */
  readonly proofOfPossession?: string
  readonly tokenEndpoint?: string
}

async function setting(t: TestContext, given: Given = {}): Promise<Setting> {
  const tenant = await createTenant({ signingKey })
  t.after(() => tenant.close())
  const { exchange = `{ audience: "${ORDERS}", scopes: ["orders:read"] }`, tokenEndpoint } = given
  const endpoint = tokenEndpoint === undefined ? '' : `, tokenEndpoint: "${tokenEndpoint}"`
  const asked = given.proofOfPossession
  const possession = asked === undefined ? '' : `\n    proofOfPossession: ${asked}`
  const cwd = await folder(t, {
    'behalf.yaml': `issuers:
  tenant: { issuer: "${tenant.url}", profile: auth0${endpoint} }
apis:
  storefront:
    issuer: tenant
    audience: ${STOREFRONT}
    client: { id: storefront-gateway, secret: ${CLIENT_SECRET} }${possession}
routes:
  - name: orders
    match: { path: /orders }
    authenticate: { api: storefront }
    authorize: { scopes: ["read:orders"] }
    exchange: ${exchange}
    proxy: { upstream: "http://127.0.0.1:9" }
`,
  })
  return {
    tenant,
    cwd,
    async exchange(token, ...argv) {
      const file = await folder(t, { token })
      return behalfAgain(['exchange', 'orders', '--token-file', `${file}/token`, ...argv], { cwd })
    },
  }
}

function alice({ tenant }: Setting, audience = STOREFRONT, scope?: string): Promise<string> {
  return tenant.token({ user: 'alice', audience, ...(scope === undefined ? {} : { scope }) })
}

interface Shown {
  readonly ok: boolean
  readonly subject?: Readonly<Record<string, unknown>>
  readonly asked: readonly {
    readonly url: string
    readonly clientAuthentication: string
    readonly form: readonly { readonly name: string; readonly value: string }[]
    readonly answer?: {
      readonly status: number
      readonly members: Readonly<Record<string, unknown>>
      readonly withheld: readonly string[]
      readonly claims?: Readonly<Record<string, unknown>>
    }
  }[]
  readonly issued?: object
  readonly kept?: { readonly mode: string; readonly key: string; readonly seconds: number }
  readonly refusal?: Readonly<Record<string, unknown>>
}

const shown = ({ out }: Ended): Shown => JSON.parse(out) as Shown

/** Neither whole nor in any of its parts that would be of use. */
function assertHidden({ out, err }: Ended, ...secrets: readonly string[]): void {
  for (const secret of secrets) {
    for (const part of [secret, ...secret.split('.').filter(({ length }) => length > 20)]) {
      assert.equal((out + err).includes(part), false, part)
    }
  }
}

test('exchange tells what was asked, what came back and where it would be kept', async (t) => {
  const all = await setting(t)
  const token = await alice(all)
  const ended = await all.exchange(`${token}\n`, '--format', 'json')
  assert.deepEqual([ended.code, ended.err], [0, ''])
  const { ok, subject, asked, issued, kept, refusal } = shown(ended)
  const [one, ...others] = asked
  assert.deepEqual([ok, others, refusal], [true, [], undefined])
  assert.match(String(subject?.['fingerprint']), /^[0-9a-f]{8}$/)
  assert.equal(subject?.['subject'], 'auth0|alice')
  assert.equal(one?.url, `${all.tenant.url}oauth/token`)
  assert.equal(one.clientAuthentication, 'client_secret_post')
  const form = Object.fromEntries(one.form.map(({ name, value }) => [name, value]))
  assert.deepEqual(form, {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: `[token ${String(subject?.['fingerprint'])}]`,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    audience: ORDERS,
    scope: 'orders:read',
    client_id: 'storefront-gateway',
    client_secret: '[withheld]',
  })
  const { status, claims = {}, withheld } = one.answer ?? {}
  assert.deepEqual([status, withheld], [200, ['access_token']])
  assert.deepEqual(
    [claims['sub'], claims['aud'], claims['scope'], claims['act']],
    ['auth0|alice', ORDERS, 'orders:read', { sub: 'storefront-gateway', act: { sub: 'spa' } }],
  )
  assert.deepEqual(issued, { scheme: 'Bearer', scopes: ['orders:read'] })
  assert.equal(kept?.mode, 'token')
  assert.match(kept.key, /^[\w-]{43}$/)
  // An hour, less the skew of half a minute and what the exchange took.
  assert.ok(kept.seconds > 3_400 && kept.seconds <= 3_570, `${kept.seconds}`)
  assert.equal(all.tenant.exchanges(), 1)
  assertHidden(ended, token, CLIENT_SECRET)
})

test('exchange tells the same as text', async (t) => {
  const all = await setting(t)
  const token = await alice(all)
  const ended = await all.exchange(token)
  assert.deepEqual([ended.code, ended.err], [0, ''])
  for (const line of [
    /^route {5}orders, by token-exchange$/m,
    /^subject {3}auth0\|alice for https:\/\/storefront\.example, by http:\/\/127\.0\.0\.1:\d+\/$/m,
    /^ {10}token [0-9a-f]{8}, 23 h \d\d min left$/m,
    /^asked {5}POST http:\/\/127\.0\.0\.1:\d+\/oauth\/token$/m,
    /^ {10}\(client\) {14}client_secret_post$/m,
    /^ {10}subject_token {9}\[token [0-9a-f]{8}\]$/m,
    /^ {10}client_secret {9}\[withheld\]$/m,
    /^answered {2}200 in \d+ ms$/m,
    /^ {10}aud {4}https:\/\/orders\.internal$/m,
    /^sent on {3}as Bearer, with orders:read$/m,
    /^kept {6}by token, as [\w-]{43}, for \d+ min$/m,
  ]) {
    assert.match(ended.out, line)
  }
  assertHidden(ended, token, CLIENT_SECRET)
})

test('the token may come from standard input', async (t) => {
  const all = await setting(t)
  const child = spawn(process.execPath, [MAIN, 'exchange', 'orders', '--token-file', '-'], {
    cwd: all.cwd,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.stdin.end(await alice(all))
  assert.deepEqual(await once(child, 'exit'), [0, null])
  assert.equal(all.tenant.exchanges(), 1)
})

for (const [what, audience, scope, code, status] of [
  ['for another API', 'https://backoffice.example', undefined, 'invalid_token', 401],
  ['without the scope', STOREFRONT, 'write:orders', 'insufficient_scope', 403],
] as const) {
  test(`a token ${what} is refused before anybody is asked: exit 1`, async (t) => {
    const all = await setting(t)
    const token = await alice(all, audience, scope)
    const ended = await all.exchange(token, '--format=json')
    assert.deepEqual([ended.code, ended.err], [1, ''])
    const { ok, asked, refusal, kept } = shown(ended)
    assert.deepEqual([ok, asked, kept], [false, [], undefined])
    assert.deepEqual([refusal?.['code'], refusal?.['status']], [code, status])
    assert.equal(all.tenant.exchanges(), 0)
    assertHidden(ended, token)
    const text = await all.exchange(token)
    assert.match(text.out, new RegExp(`^refused   ${status} ${code}: `, 'm'))
    assert.equal((await all.exchange(await alice(all))).code, 0)
  })
}

for (const [what, token, code] of [
  ['nothing', '', 'invalid_request'],
  ['two words', 'Bearer eyJhbGciOiJub25lIn0.e30.', 'invalid_request'],
  ['an opaque token', 'b3BhcXVl', 'invalid_token'],
] as const) {
  test(`a file with ${what} is refused as a request would be`, async (t) => {
    const all = await setting(t)
    const ended = await all.exchange(token, '--format', 'json')
    assert.equal(ended.code, 1)
    assert.equal(shown(ended).refusal?.['code'], code)
  })
}

test('what came back is told although it fails its check', async (t) => {
  const all = await setting(t)
  const token = await alice(all)
  all.tenant.fault({ kind: 'wrong_sub', times: 1 })
  const ended = await all.exchange(token, '--format', 'json')
  assert.equal(ended.code, 1)
  const { asked, refusal, kept } = shown(ended)
  assert.equal(asked[0]?.answer?.claims?.['sub'], 'auth0|somebody-else')
  assert.deepEqual([refusal?.['code'], kept], ['exchange_misconfigured', undefined])
  assert.match(JSON.stringify(refusal?.['cause']), /failed its check: sub/)
  assert.equal((await all.exchange(token)).code, 0)
})

test('a throttled exchange tells when to try again', async (t) => {
  const all = await setting(t)
  const token = await alice(all)
  all.tenant.fault({ kind: 'too_many_requests', retryAfterSeconds: 7, times: 2 })
  const { refusal, asked } = shown(await all.exchange(token, '--format', 'json'))
  assert.deepEqual([refusal?.['code'], refusal?.['retryAfter']], ['exchange_unavailable', 7])
  assert.equal(asked[0]?.answer?.members['error'], 'too_many_requests')
  assert.match((await all.exchange(token)).out, /^ {10}to be tried again in 7 s$/m)
})

test('an issuer that is not there is told as unavailable', async (t) => {
  const all = await setting(t, { tokenEndpoint: 'http://127.0.0.1:1/token' })
  const ended = await all.exchange(await alice(all))
  assert.equal(ended.code, 1)
  assert.match(ended.out, /^answered {2}nothing$/m)
  assert.match(ended.out, /^refused {3}503 exchange_unavailable: /m)
})

test('with key: context a refreshed token has the same key, with key: token another', async (t) => {
  for (const [mode, same] of [
    ['context', true],
    ['token', false],
  ] as const) {
    const all = await setting(t, {
      exchange: `{ audience: "${ORDERS}", scopes: ["orders:read"], key: ${mode} }`,
    })
    const first = await alice(all)
    let second = first
    // Two of one second are one token.
    while (second === first) second = await alice(all)
    const [one, other] = [
      shown(await all.exchange(first, '--format', 'json')).kept,
      shown(await all.exchange(second, '--format', 'json')).kept,
    ]
    assert.deepEqual([one?.mode, other?.mode], [mode, mode])
    assert.equal(one?.key === other?.key, same)
  }
})

for (const [grant, said] of [
  ['{ grant: none }', 'no credentials: the route asks for none'],
  ['{ grant: passthrough, because: it is ours }', 'the subject token itself'],
] as const) {
  test(`a route of ${grant} asks nobody and keeps nothing`, async (t) => {
    const all = await setting(t, { exchange: grant })
    const token = await alice(all)
    const ended = await all.exchange(token)
    assert.equal(ended.code, 0, ended.err)
    assert.ok(ended.out.includes(`sent on   ${said}`), ended.out)
    assert.doesNotMatch(ended.out, /^(?:kept|asked) /m)
    assert.equal(all.tenant.exchanges(), 0)
    assertHidden(ended, token)
  })
}

test('no canary is printed, wherever the issuer or the route puts it', async (t) => {
  let status = 200
  let subject = ''
  const issued = unsignedJwt({
    ...{ sub: 'auth0|alice', aud: ORDERS, scope: 'orders:read' },
    ...{ echo: 'TO-BE-REPLACED', [CLIENT_SECRET]: 1, nested: [{ id: unsignedJwt({ a: 'b' }) }] },
    bell: 'ding\u0007\u001b[31m',
  })
  const canaries = {
    refresh_token: 'canary-refresh-token-0001',
    id_token: unsignedJwt({ canary: 'id' }),
    odd_one: 'canary-odd-one-0001',
  }
  const origin = await listen(t, (request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      subject = new URLSearchParams(body).get('subject_token') ?? ''
      const description = `${subject} ${CLIENT_SECRET} ${canaries.odd_one}`
      const answer =
        status === 200
          ? { access_token: issued, token_type: 'Bearer', scope: description, ...canaries }
          : { error: 'invalid_grant', error_description: description, ...canaries }
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(answer))
    })
  })
  const all = await setting(t, {
    tokenEndpoint: `${origin}/token`,
    exchange: `{ audience: "${ORDERS}", scopes: ["orders:read"], parameters: { api_key: canary-parameter-0001 } }`,
  })
  const token = await alice(all)
  for (status of [200, 403, 500]) {
    for (const format of ['text', 'json']) {
      const ended = await all.exchange(token, '--format', format)
      assert.equal(ended.code, 1)
      assert.equal(subject, token)
      const secrets = [...Object.values(canaries), 'canary-parameter-0001', CLIENT_SECRET]
      assertHidden(ended, token, issued, ...secrets, unsignedJwt({ a: 'b' }))
      assert.doesNotMatch(ended.out, /[\x00-\x09\x0b-\x1f]/)
      assert.ok(ended.out.includes('api_key'))
      assert.ok(ended.out.includes('odd_one'), ended.out)
    }
  }
})

test('secrets are found in names, lists and objects, and what is too short is left alone', () => {
  const secrets = createSecrets()
  for (const secret of ['hush-hush', 'abc']) secrets.add(secret)
  const value = { 'a hush-hush': ['x hush-hush y', 1, null, { b: 'abc' }], c: true }
  assert.deepEqual(secrets.without(value), {
    'a [secret]': ['x [secret] y', 1, null, { b: 'abc' }],
    c: true,
  })
})

for (const [argv, message] of [
  [['ordres'], 'there is no route `ordres`, did you mean `orders`?'],
  [['billing'], 'there is no route `billing`; there are `orders`'],
  [[], 'name one ROUTE'],
  [['orders', 'orders'], 'name one ROUTE'],
] as const) {
  test(`behalf exchange ${argv.join(' ')} is a wrong command line: exit 64`, async (t) => {
    const { cwd } = await setting(t)
    const ended = await behalfAgain(['exchange', ...argv, '--token-file', 'token'], { cwd })
    assert.deepEqual([ended.code, ended.out, ended.err], [64, '', `behalf: ${message}\n`])
  })
}

test('exchange needs a file of a token that can be read', async (t) => {
  const { cwd } = await setting(t)
  const without = await behalfAgain(['exchange', 'orders'], { cwd })
  assert.deepEqual([without.code, without.err], [64, 'behalf: --token-file is needed\n'])
  const missing = await behalfAgain(['exchange', 'orders', '--token-file', 'missing'], { cwd })
  assert.deepEqual(
    [missing.code, missing.err],
    [64, 'behalf: the file of --token-file cannot be read\n'],
  )
})

test('a configuration that cannot be served exchanges nothing: exit 78', async (t) => {
  const { cwd } = await setting(t, { exchange: '{}' })
  const ended = await behalf(['exchange', 'orders', '--token-file', 'token'], { cwd })
  assert.deepEqual([ended.code, ended.out], [78, ''])
})

test('where callers must prove possession, the command says that it cannot', async (t) => {
  const given = await setting(t, { proofOfPossession: '{ mechanism: mtls }' })
  const { code, out } = await given.exchange(await alice(given), '--format', 'json')
  assert.equal(code, 1)
  const { refusal, asked } = JSON.parse(out) as Shown
  assert.equal(refusal?.['code'], 'invalid_token')
  assert.match(String(refusal?.['detail']), /neither the key nor the certificate of the caller/)
  assert.deepEqual(asked, [])
  const optional = await setting(t, { proofOfPossession: '{ mechanism: mtls, required: false }' })
  assert.equal((await optional.exchange(await alice(optional))).code, 0)
})

import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { CompactEncrypt, type CompactJWEHeaderParameters } from 'jose'
import { holder, ORIGIN } from '../authenticate/proofs.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import {
  assertHeadersAllowed,
  assertTokensContained,
  bearer,
  type Gateway,
  oneRoute,
  startGateway,
  startUpstream,
  type Upstream,
} from '../system.ts'

const [own, next] = [rsa(), rsa()]

function rsa(): { readonly publicKey: KeyObject; readonly pem: string } {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  return { publicKey, pem: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string }
}

function encrypt(
  text: string,
  header: Partial<CompactJWEHeaderParameters> = {},
  key: KeyObject = own.publicKey,
): Promise<string> {
  return new CompactEncrypt(Buffer.from(text))
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', ...header })
    .encrypt(key)
}

interface Setting {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly gateway: Gateway
  ask(token: string): Promise<readonly [number, unknown]>
}

interface Given {
  readonly api?: object
  readonly exchange?: object
  readonly answer?: Parameters<typeof startUpstream>[1]
}

async function setting(t: TestContext, given: Given = {}) {
  const [issuer, upstream] = [await startIssuer(t), await startUpstream(t, given.answer)]
  const api = { decryptionKeys: [own.pem], ...given.api }
  const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin, api })
  const [route] = (configuration as { readonly routes: [{ exchange: object }] }).routes
  if (given.exchange !== undefined) route.exchange = given.exchange
  const gateway = await startGateway(t, configuration)
  const ask: Setting['ask'] = async (token) => {
    const answer = await fetch(`${gateway.origin}/orders`, bearer(token))
    const text = await answer.text()
    const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {}
    return [answer.status, body['code'] ?? body['sub']]
  }
  return { issuer, upstream, gateway, ask } satisfies Setting
}

const SERVED = [200, 'user|alice']
const REFUSED = [401, 'invalid_token']

test('an encrypted token is decrypted, verified, exchanged once, and contained', async (t) => {
  const { issuer, upstream, gateway, ask } = await setting(t)
  const inner = await issuer.token()
  const token = await encrypt(inner, { cty: 'JWT' })
  for (let round = 0; round < 2; round++) assert.deepEqual(await ask(token), SERVED)
  assert.deepEqual(
    issuer.exchanges.map((form) => form.get('subject_token')),
    [inner],
  )
  assertHeadersAllowed(upstream)
  for (const secret of [token, inner]) assertTokensContained(gateway, upstream, secret)
  for (const segment of token.split('.')) assert.equal(gateway.logged().includes(segment), false)
})

test('a token that is encrypted anew, which anybody can do, costs no exchange', async (t) => {
  const { issuer, ask } = await setting(t)
  const inner = await issuer.token()
  for (let round = 0; round < 5; round++) assert.deepEqual(await ask(await encrypt(inner)), SERVED)
  assert.equal(issuer.exchanges.length, 1)
  assert.deepEqual(await ask(await encrypt(await issuer.token())), SERVED)
  assert.equal(issuer.exchanges.length, 2)
})

test('a token that is not encrypted is refused where it must be, and nobody is asked', async (t) => {
  const { issuer, ask } = await setting(t)
  const inner = await issuer.token()
  assert.deepEqual(await ask(inner), REFUSED)
  assert.equal(issuer.exchanges.length, 0)
  assert.deepEqual(await ask(await encrypt(inner)), SERVED)
})

test('an encrypted token is refused where none is taken', async (t) => {
  const { issuer, ask } = await setting(t, { api: { decryptionKeys: undefined } })
  const inner = await issuer.token()
  assert.deepEqual(await ask(await encrypt(inner)), REFUSED)
  assert.deepEqual(await ask(inner), SERVED)
})

const unsigned = (claims: string): string => {
  const header = Buffer.from('{"alg":"none"}').toString('base64url')
  return `${header}.${claims}.`
}

for (const [what, made] of [
  ['an unsigned token (CVE-2026-29000)', (good: string) => unsigned(good.split('.')[1]!)],
  ['bare claims', (good: string) => Buffer.from(good.split('.')[1]!, 'base64url').toString()],
  [
    'a token whose signature was cut off',
    (good: string) => good.slice(0, good.lastIndexOf('.') + 1),
  ],
  ['an encrypted token', (good: string) => encrypt(good)],
  ['a token in another spelling', (good: string) => `${good}=`],
  ['a token with a line after it', (good: string) => `${good}\n`],
  ['nothing', () => ''],
] as const) {
  test(`what holds ${what} in place of a signed token is refused`, async (t) => {
    const { issuer, ask } = await setting(t)
    const good = await issuer.token()
    assert.deepEqual(await ask(await encrypt(await made(good), { cty: 'JWT' })), REFUSED)
    assert.equal(issuer.exchanges.length, 0)
    assert.deepEqual(await ask(await encrypt(good, { cty: 'JWT' })), SERVED)
  })
}

for (const [header, expected] of [
  [{ cty: 'jwt' }, SERVED],
  [{ cty: 'application/jwt' }, SERVED],
  [{ cty: 'JWT', typ: 'at+jwt' }, SERVED],
  [{ cty: 'json' }, REFUSED],
  [{ cty: '' }, REFUSED],
  [{ typ: 'logout+jwt' }, REFUSED],
] as const) {
  test(`an encrypted token with ${JSON.stringify(header)} is answered ${expected[0]}`, async (t) => {
    const { issuer, ask } = await setting(t)
    assert.deepEqual(await ask(await encrypt(await issuer.token(), header)), expected)
  })
}

test('the signed token within is judged as any other: by its audience, and at each request by its time', async (t) => {
  const { issuer, ask } = await setting(t)
  assert.deepEqual(await ask(await encrypt(await issuer.token({ aud: 'another' }))), REFUSED)
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const token = await encrypt(await issuer.token({ exp: Math.floor(Date.now() / 1_000) + 30 }))
  assert.deepEqual(await ask(token), SERVED)
  t.mock.timers.tick(36_000)
  assert.deepEqual(await ask(token), REFUSED)
})

test('what a token that is encrypted twice is refused for is told', async (t) => {
  const { issuer, gateway } = await setting(t)
  const token = await encrypt(await encrypt(await issuer.token()))
  const answer = await fetch(`${gateway.origin}/orders`, bearer(token))
  const { detail } = (await answer.json()) as { readonly detail?: unknown }
  assert.equal(detail, 'what was encrypted is not a signed token')
})

test('another spelling of an encrypted token is refused', async (t) => {
  const { issuer, ask } = await setting(t)
  const token = await encrypt(await issuer.token())
  assert.deepEqual(await ask(token), SERVED)
  const last = token.at(-1)!
  const other = { A: 'B', Q: 'R', g: 'h', w: 'x' }[last] ?? assert.fail('not canonical')
  assert.deepEqual(await ask(token.slice(0, -1) + other), REFUSED)
  assert.deepEqual(await ask(`${token}.`), REFUSED)
})

test('with passthrough the upstream gets the token as it came', async (t) => {
  const { issuer, upstream, ask } = await setting(t, {
    exchange: { grant: 'passthrough', because: 'it is the API itself' },
    answer: (_, response) => response.end('{"sub":"user|alice"}'),
  })
  const token = await encrypt(await issuer.token())
  assert.deepEqual(await ask(token), SERVED)
  assert.deepEqual(
    upstream.received.map(({ headers }) => headers.authorization),
    [`Bearer ${token}`],
  )
})

test('a key that is replaced in its file takes what it opened with it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'behalf-'))
  t.after(() => rm(folder, { recursive: true }))
  const file = join(folder, 'decryption.pem')
  await writeFile(file, own.pem)
  const { issuer, ask } = await setting(t, { api: { decryptionKeys: [file] } })
  const inner = await issuer.token()
  const [old, fresh] = [await encrypt(inner), await encrypt(inner, {}, next.publicKey)]
  assert.deepEqual(await ask(old), SERVED)
  assert.deepEqual(await ask(fresh), REFUSED)
  await writeFile(`${file}.new`, next.pem)
  await rename(`${file}.new`, file)
  // What has to be decrypted looks at the file first, and everybody else knows from then on.
  assert.deepEqual(await ask(fresh), SERVED)
  assert.deepEqual(await ask(old), REFUSED)
})

test('of two APIs on a route, a token in the clear is for the one whose tokens are not encrypted', async (t) => {
  const [issuer, upstream] = [await startIssuer(t), await startUpstream(t)]
  const client = { id: 'storefront', secret: 'a-secret-of-the-storefront' }
  const gateway = await startGateway(t, {
    issuers: { tenant: { issuer: issuer.url, profile: 'rfc8693' } },
    apis: {
      closed: {
        ...{ issuer: 'tenant', audience: 'https://closed.example', client },
        decryptionKeys: [{ key: own.pem, kid: 'one' }],
      },
      open: { issuer: 'tenant', audience: 'https://open.example', client },
    },
    routes: [
      {
        match: { path: '/orders' },
        authenticate: { apis: ['closed', 'open'] },
        exchange: { audience: 'https://orders.internal' },
        proxy: { upstream: upstream.origin },
      },
    ],
  })
  const ask = async (token: string): Promise<number> =>
    (await fetch(`${gateway.origin}/orders`, bearer(token))).status
  const closed = await issuer.token({ aud: 'https://closed.example' })
  const open = await issuer.token({ aud: 'https://open.example' })
  assert.equal(await ask(closed), 401)
  assert.equal(await ask(await encrypt(closed)), 200)
  assert.equal(await ask(open), 200)
  assert.equal(await ask(await encrypt(open)), 401)
})

test('a proof is for the token as it was presented (RFC 9449, section 4.2)', async (t) => {
  const [issuer, upstream] = [await startIssuer(t), await startUpstream(t)]
  const api = { decryptionKeys: [own.pem], proofOfPossession: { mechanism: 'dpop' } }
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin, api }),
    server: {
      ...{ listen: '127.0.0.1:0', publicOrigin: ORIGIN },
      drain: { delay: '0ms', timeout: '1s' },
    },
  })
  const caller = await holder()
  const inner = await issuer.token({ cnf: { jkt: caller.jkt } })
  const token = await encrypt(inner)
  const statusWith = async (proof: string): Promise<number> => {
    const headers = { authorization: `DPoP ${token}`, dpop: proof }
    return (await fetch(`${gateway.origin}/orders`, { headers })).status
  }
  for (let round = 0; round < 2; round++) {
    assert.equal(await statusWith(await caller.proof(token)), 200)
    assert.equal(await statusWith(await caller.proof(inner)), 401)
  }
})

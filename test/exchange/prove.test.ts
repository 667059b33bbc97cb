import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { jwtVerify, type JWTVerifyResult } from 'jose'
import type { Client } from '../../src/config/config.ts'
import { IDENTIFIER } from '../support.ts'
import {
  answering,
  endpointAt,
  exchange,
  failure,
  GOOD,
  type ProfileName,
  type Seen,
} from './loopback-issuer.ts'

const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string

async function folder(context: TestContext): Promise<(name: string) => string> {
  const path = await mkdtemp(join(tmpdir(), 'behalf-'))
  context.after(() => rm(path, { recursive: true, force: true }))
  return (name) => join(path, name)
}

/** As it is done by whoever does it well: there is never half a file. */
async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}

const formOf = ({ body }: Seen): URLSearchParams => new URLSearchParams(body)

function verified(seen: Seen, key: KeyObject): Promise<JWTVerifyResult> {
  return jwtVerify(formOf(seen).get('client_assertion') ?? '', key)
}

for (const [algorithm, { privateKey, publicKey }] of [
  ['RS256', rsa],
  ['PS256', rsa],
  ['ES256', ec],
] as const) {
  test(`a ${algorithm} assertion says who the client is, to whom, and for a minute`, async (context) => {
    const client: Client = {
      ...{ id: 'gateway', method: 'private_key_jwt', algorithm, keyId: 'one' },
      privateKey: { pem: pem(privateKey) },
    }
    const { endpoint, seen } = await endpointAt(context, answering(200, GOOD), { client })
    await exchange(endpoint)
    await exchange(endpoint)
    const form = formOf(seen[0]!)
    assert.equal(form.get('client_id'), 'gateway')
    assert.equal(form.get('client_assertion_type'), ASSERTION)
    assert.equal(form.has('client_secret'), false)
    assert.equal(seen[0]!.request.headers.authorization, undefined)
    const { payload, protectedHeader } = await verified(seen[0]!, publicKey)
    assert.deepEqual(protectedHeader, { alg: algorithm, kid: 'one' })
    const { iss, sub, aud, exp = 0, iat = 0, jti } = payload
    assert.deepEqual([iss, sub, aud], ['gateway', 'gateway', IDENTIFIER])
    assert.ok(exp - iat > 0 && exp - iat <= 120)
    // RFC 7523, section 3: each is used once.
    assert.notEqual((await verified(seen[1]!, publicKey)).payload.jti, jti)
  })
}

for (const [profile, isEndpoint, member] of [
  ['auth0', false, 'kid'],
  ['keycloak', false, 'kid'],
  ['okta', true, 'kid'],
  ['entra', true, 'x5t#S256'],
] as readonly (readonly [ProfileName, boolean, string])[]) {
  const to = isEndpoint ? 'the token endpoint' : 'the issuer'
  test(`${profile}: an assertion is for ${to}, and names its key as ${member}`, async (context) => {
    const client: Client = {
      ...{ id: 'gateway', method: 'private_key_jwt', algorithm: 'ES256', keyId: 'one' },
      privateKey: { pem: pem(ec.privateKey) },
    }
    const options = { client, profile }
    const { endpoint, seen } = await endpointAt(context, answering(200, GOOD), options)
    await exchange(endpoint)
    const { payload, protectedHeader } = await verified(seen[0]!, ec.publicKey)
    const own = `http://${seen[0]!.request.headers.host}/token`
    assert.equal(payload.aud, isEndpoint ? own : IDENTIFIER)
    assert.deepEqual({ ...protectedHeader }, { alg: 'ES256', [member]: 'one' })
  })
}

test('without a key id none is sent', async (context) => {
  const client: Client = {
    ...{ id: 'gateway', method: 'private_key_jwt', algorithm: 'ES256', keyId: undefined },
    privateKey: { pem: pem(ec.privateKey) },
  }
  const { endpoint, seen } = await endpointAt(context, answering(200, GOOD), { client })
  await exchange(endpoint)
  assert.deepEqual((await verified(seen[0]!, ec.publicKey)).protectedHeader, { alg: 'ES256' })
})

test('a key is read again when its file changes, and the last good one serves meanwhile', async (context) => {
  const file = (await folder(context))('client.key')
  const next = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await writeFile(file, pem(ec.privateKey))
  const client: Client = {
    ...{ id: 'gateway', method: 'private_key_jwt', algorithm: 'ES256', keyId: undefined },
    privateKey: { file },
  }
  const { endpoint, seen } = await endpointAt(context, answering(200, GOOD), { client })
  const signedBy = async (key: KeyObject): Promise<void> => {
    await exchange(endpoint)
    await verified(seen.at(-1)!, key)
  }
  await signedBy(ec.publicKey)
  await replace(file, pem(next.privateKey))
  await signedBy(next.publicKey)
  await replace(file, 'half a key')
  await signedBy(next.publicKey)
  await rm(file)
  await signedBy(next.publicKey)
  await replace(file, pem(ec.privateKey))
  await signedBy(ec.publicKey)
})

test('an assertion from a file is sent as it is, and as it is by then', async (context) => {
  const file = (await folder(context))('token')
  await writeFile(file, 'first.federated.assertion\n')
  const client: Client = { id: 'gateway', method: 'assertion_file', assertion: { file } }
  const { endpoint, seen } = await endpointAt(context, answering(200, GOOD), { client })
  await exchange(endpoint)
  const form = formOf(seen[0]!)
  assert.deepEqual(
    [form.get('client_id'), form.get('client_assertion_type'), form.get('client_assertion')],
    ['gateway', ASSERTION, 'first.federated.assertion'],
  )
  await replace(file, 'second.federated.assertion')
  await exchange(endpoint)
  assert.equal(formOf(seen[1]!).get('client_assertion'), 'second.federated.assertion')
  await replace(file, 'no JWT')
  await exchange(endpoint)
  assert.equal(formOf(seen[2]!).get('client_assertion'), 'second.federated.assertion')
})

for (const text of [undefined, '', 'one word', 'a.b', 'a.b.c d.e.f']) {
  test(`a client whose file holds ${JSON.stringify(text)} is ours to mend, and asks nobody`, async (context) => {
    const file = (await folder(context))('token')
    if (text !== undefined) await writeFile(file, text)
    const client: Client = { id: 'gateway', method: 'assertion_file', assertion: { file } }
    const { endpoint, seen } = await endpointAt(context, answering(200, GOOD), { client })
    assert.equal((await failure(exchange(endpoint))).code, 'exchange_misconfigured')
    assert.equal(seen.length, 0)
    await replace(file, 'a.b.c')
    assert.equal((await exchange(endpoint)).accessToken, 'issued')
  })
}

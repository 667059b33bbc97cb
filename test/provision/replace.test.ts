import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { scopesToApply } from '../../src/provision/access.ts'
import { apply } from '../../src/provision/apply.ts'
import { applySingle, planSingle, type Single } from '../../src/provision/single.ts'
import type { Step } from '../../src/provision/step.ts'
import type { ClientGrant, Tenant } from '../../src/tenant/index.ts'
import { done, killed, SOURCE, start, TARGET, wantedOf, type Setting } from './tenant.ts'

const OPTIONS = { pruneScopes: false, lagMs: 1 }
const REPLACE = { ...OPTIONS, replace: true }
const MOVED = 'https://orders-2.internal'

function deletions({ tenant }: Setting): readonly string[] {
  const calls = tenant.managementCalls().filter(({ method }) => method === 'DELETE')
  return calls.map(({ target }) => target.replace(/\/[^/]+$/, ''))
}

function goneOf(steps: readonly Step[]): readonly string[] {
  return steps.flatMap(({ deletes }) => deletes.map(({ kind, id }) => `${kind} ${id}`))
}

function grantsOf({ state }: Tenant): readonly ClientGrant[] {
  return [...state.clientGrants.values()]
}

const PLACE: Readonly<Record<string, (grant: ClientGrant) => object>> = {
  'its audience is another': (grant) => ({ ...grant, audience: MOVED }),
  'its subject type is another': (grant) => ({ ...grant, subject_type: 'client' }),
}

for (const [what, change] of Object.entries(PLACE)) {
  test(`a grant gives way to the one that is needed, where that is asked for: ${what}`, async (t) => {
    const setting = await start(t)
    const { tenant, management, wanted, steps } = setting
    await apply(management, wanted, OPTIONS)
    const [right] = grantsOf(tenant)
    const spoil = (): ClientGrant => {
      for (const { id } of grantsOf(tenant)) tenant.state.removeClientGrant(id)
      const { id: _, ...rest } = change(right!) as ClientGrant
      return tenant.state.addClientGrant(rest)
    }
    tenant.state.addResourceServer({ identifier: MOVED, scopes: [...right!.scope].map(scoped) })

    const kept = spoil()
    assert.deepEqual(goneOf(await steps()), [])
    await apply(management, wanted, OPTIONS)
    assert.equal(tenant.state.clientGrants.has(kept.id), true)
    assert.deepEqual(deletions(setting), [])

    const wrong = spoil()
    const planned = await setting.steps(wanted, REPLACE)
    assert.deepEqual(goneOf(planned), [`client-grant ${wrong.id}`])
    assert.ok(scopesToApply(planned).includes('delete:client_grants'))
    assert.equal(tenant.state.clientGrants.has(wrong.id), true)
    await apply(management, wanted, REPLACE)
    assert.deepEqual(deletions(setting), ['/api/v2/client-grants'])
    assert.deepEqual(
      grantsOf(tenant).map(({ audience, subject_type: type }) => [audience, type]),
      [[TARGET, 'user']],
    )
    assert.deepEqual(done(await setting.steps(wanted, REPLACE)), [])
  })
}

function scoped(value: string): { value: string } {
  return { value }
}

test('which of several grants would give way nobody can tell: none does', async (t) => {
  const setting = await start(t)
  const { tenant, management, wanted } = setting
  await apply(management, wanted, OPTIONS)
  const [right] = grantsOf(tenant)
  for (const identifier of [MOVED, 'https://orders-3.internal']) {
    tenant.state.addResourceServer({ identifier, scopes: [...right!.scope].map(scoped) })
    const { id: _, ...rest } = right!
    tenant.state.addClientGrant({ ...rest, audience: identifier })
  }
  tenant.state.removeClientGrant(right!.id)
  await apply(management, wanted, REPLACE)
  assert.equal(tenant.state.clientGrants.size, 3)
  assert.deepEqual(deletions(setting), [])
})

test('with everything in its place --replace deletes nothing, whatever else is there', async (t) => {
  const setting = await start(t)
  const { tenant, management, wanted } = setting
  await apply(management, wanted, OPTIONS)
  const [right] = grantsOf(tenant)
  const { id: _, ...rest } = right!
  tenant.state.addClientGrant({ ...rest, subject_type: 'client' })
  await apply(management, wanted, REPLACE)
  assert.equal(tenant.state.clientGrants.size, 2)
  assert.deepEqual(deletions(setting), [])
})

function rsaKey(): string {
  return generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).privateKey
}

function keyed(privateKey: string, more: object = {}) {
  return {
    changes: { 'apis.storefront.client': { id: '${CLIENT_ID}', privateKey, ...more } },
  }
}

test('a key whose algorithm is another is made anew, where that is asked for', async (t) => {
  const key = rsaKey()
  const setting = await start(t, keyed(key, { algorithm: 'RS256' }))
  const { tenant, management, wanted } = setting
  await apply(management, wanted, OPTIONS)
  const [client] = tenant.state.clients.values()
  const [old] = client!.credentials
  const other = await wantedOf(tenant.url, keyed(key, { algorithm: 'PS256' }))
  const before = tenant.managementCalls().length
  await assert.rejects(apply(management, other, OPTIONS), {
    code: 'impossible',
    message: `only --replace deletes credential ${old!.id} of the client storefront, since its alg is RS256, and cannot become PS256`,
  })
  const sent = tenant.managementCalls().slice(before)
  assert.ok(sent.every(({ method }) => method === 'GET'))
  await apply(management, other, REPLACE)
  const [now, ...more] = client!.credentials
  assert.deepEqual([now?.kid, now?.alg, more.length], [old!.kid, 'PS256', 0])
  assert.deepEqual(client!.client_authentication_methods?.private_key_jwt?.credentials, [
    { id: now!.id },
  ])
  assert.deepEqual(done(await setting.steps(other)), [])
})

test('a third key takes the place of the oldest, where that is asked for', async (t) => {
  let now = 1_700_000_000_000
  const keys = [rsaKey(), rsaKey(), rsaKey()]
  const setting = await start(t, keyed(keys[0]!), { clock: () => (now += 1_000) })
  const { tenant, management } = setting
  for (const key of keys.slice(0, 2)) {
    await apply(management, await wantedOf(tenant.url, keyed(key)), OPTIONS)
  }
  const [client] = tenant.state.clients.values()
  const [oldest, newer] = client!.credentials
  const third = await wantedOf(tenant.url, keyed(keys[2]!))
  await assert.rejects(apply(management, third, OPTIONS), {
    code: 'impossible',
    message: /only --replace deletes .* a client uses at most 2, and this is the oldest/,
  })
  await apply(management, third, REPLACE)
  const left = client!.credentials.map(({ id }) => id)
  assert.equal(left.includes(oldest!.id), false)
  assert.equal(left.includes(newer!.id), true)
  assert.equal(left.length, 2)
  assert.deepEqual(done(await setting.steps(third)), [])
})

test('ended at any call, a replacement goes on where it was', async (t) => {
  const key = rsaKey()
  const wants = keyed(key, { algorithm: 'RS256' })
  const ends = async (at: number): Promise<boolean> => {
    const { tenant, management, wanted, steps } = await start(t, wants)
    await apply(management, wanted, OPTIONS)
    const other = await wantedOf(tenant.url, keyed(key, { algorithm: 'PS256' }))
    const ended = killed(management, at, 'after')
    const isEnded = await apply(ended, other, REPLACE).then(
      () => false,
      () => true,
    )
    await apply(management, other, REPLACE)
    const [client] = tenant.state.clients.values()
    assert.deepEqual(
      client!.credentials.map(({ alg }) => alg),
      ['PS256'],
      String(at),
    )
    assert.deepEqual(done(await steps(other)), [])
    return isEnded
  }
  let at = 1
  while (await ends(at)) at++
  assert.ok(at > 8, String(at))
})

async function single(setting: Setting, given: Omit<Single, 'generation'>): Promise<Step> {
  const { management } = setting
  const asked: Single = { generation: 'current', ...given }
  const planned = await planSingle(management, asked, REPLACE)
  await applySingle(management, asked, REPLACE)
  return planned
}

test("a grant's audience, client and subject type are another grant's, made before the old one goes", async (t) => {
  const setting = await start(t)
  const { tenant, management, wanted } = setting
  await apply(management, wanted, OPTIONS)
  const { state } = tenant
  const [right] = grantsOf(tenant)
  state.addResourceServer({ identifier: MOVED, scopes: [...right!.scope].map(scoped) })
  state.addClient({ client_id: 'another', app_type: 'regular_web' })
  for (const [name, value] of [
    ['audience', MOVED],
    ['client_id', 'another'],
    ['subject_type', 'client'],
  ] as const) {
    const [grant] = grantsOf(tenant)
    const { id } = grant!
    const fields = { [name]: value }
    const asked = { generation: 'current', kind: 'client-grant', id, fields } as const
    await assert.rejects(planSingle(management, asked, OPTIONS), {
      code: 'impossible',
      message: `${name} of a client grant cannot be changed; --replace makes another, and deletes this one`,
    })
    const planned = await single(setting, { kind: 'client-grant', id, fields })
    assert.deepEqual([planned.action, goneOf([planned])], ['replace', [`client-grant ${id}`]])
    const [now, ...more] = grantsOf(tenant)
    assert.equal(more.length, 0)
    assert.deepEqual({ ...now, id }, { ...grant, ...fields })
  }
})

test('a grant that is there already takes the place of another', async (t) => {
  const setting = await start(t)
  const { tenant, management, wanted } = setting
  await apply(management, wanted, OPTIONS)
  const [right] = grantsOf(tenant)
  const { id: _, ...rest } = right!
  const other = tenant.state.addClientGrant({ ...rest, subject_type: 'client', scope: [] })
  const fields = { subject_type: 'client' }
  await single(setting, { kind: 'client-grant', id: right!.id, fields })
  assert.deepEqual(
    grantsOf(tenant).map(({ id, scope }) => [id, scope]),
    [[other.id, right!.scope]],
  )
})

test('a resource server with another identifier is another, and what goes with the old one is told', async (t) => {
  const setting = await start(t)
  const { tenant, management, wanted } = setting
  await apply(management, wanted, OPTIONS)
  const { state } = tenant
  const asked = (id: string): Omit<Single, 'generation'> => ({
    ...{ kind: 'resource-server', id },
    fields: { identifier: MOVED, token_lifetime: 60 },
  })
  const refused = planSingle(management, { generation: 'current', ...asked(TARGET) }, OPTIONS)
  await assert.rejects(refused, { code: 'impossible', message: /identifier .* cannot be changed/ })
  const old = state.resourceServer(TARGET)!
  const [grant] = grantsOf(tenant)
  const planned = await single(setting, asked(TARGET))
  assert.deepEqual(goneOf([planned]), [`resource-server ${old.id}`, `client-grant ${grant!.id}`])
  assert.equal(state.resourceServer(TARGET), undefined)
  assert.equal(state.clientGrants.size, 0)
  const { id: ___, identifier, token_lifetime: lifetime, ...rest } = state.resourceServer(MOVED)!
  assert.deepEqual([identifier, lifetime], [MOVED, 60])
  const { settings: _, ...before } = old
  const { settings: __, ...after } = rest
  const [{ token_lifetime: was }, same] = [old, { id: old.id, identifier: TARGET }]
  assert.deepEqual({ ...after, ...same, token_lifetime: was }, before)
  const source = await planSingle(management, { generation: 'current', ...asked(SOURCE) }, REPLACE)
  assert.ok(goneOf([source]).includes(`client ${state.resourceServer(SOURCE)!.client_id}`))
})

test('ended between the two, the old resource server still says what the new one is', async (t) => {
  const setting = await start(t)
  const { tenant, management, wanted } = setting
  await apply(management, wanted, OPTIONS)
  const fields = { identifier: MOVED }
  const asked: Single = { generation: 'current', kind: 'resource-server', id: TARGET, fields }
  const ended = {
    ...management,
    deleteServer: () => Promise.reject(new Error('killed')),
  }
  await assert.rejects(applySingle(ended, asked, REPLACE), { message: 'killed' })
  assert.ok(tenant.state.resourceServer(TARGET) && tenant.state.resourceServer(MOVED))
  await applySingle(management, asked, REPLACE)
  assert.equal(tenant.state.resourceServer(TARGET), undefined)
  assert.deepEqual(
    tenant.state.resourceServer(MOVED)?.scopes.map(({ value }) => value),
    ['orders:read', 'orders:list'],
  )
  const after = await planSingle(management, asked, REPLACE)
  assert.equal(after.action, 'unchanged')
})

test('an encrypted resource server is replaced only with its key: no tenant tells it', async (t) => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = String(publicKey.export({ format: 'pem', type: 'spki' }))
  const encryption = {
    format: 'compact-nested-jwe',
    encryption_key: { alg: 'RSA-OAEP-256', pem },
  } as const
  const setting = await start(t)
  const { tenant, management, wanted } = setting
  await apply(management, wanted, OPTIONS)
  tenant.state.resourceServer(TARGET)!.token_encryption = encryption
  const asked = (fields: object): Single => ({
    ...{ generation: 'current', kind: 'resource-server', id: TARGET },
    fields: { identifier: MOVED, ...fields },
  })
  await assert.rejects(planSingle(management, asked({}), REPLACE), {
    code: 'impossible',
    message: /token_encryption: no tenant tells its pem/,
  })
  await applySingle(management, asked({ token_encryption: encryption }), REPLACE)
  assert.deepEqual(tenant.state.resourceServer(MOVED)?.token_encryption, encryption)
})

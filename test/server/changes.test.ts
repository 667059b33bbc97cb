import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { readConfig } from '../../src/config/load.ts'
import { changesBetween, isNothing } from '../../src/server/changes.ts'
import { type Signer, signer } from '../authenticate/assertions.ts'
import { folder } from '../folder.ts'
import { oneRoute } from '../system.ts'

const BASE = oneRoute({ issuer: 'https://issuer.example/', upstream: 'http://127.0.0.1:9' }) as {
  readonly issuers: { readonly tenant: object }
  readonly apis: { readonly storefront: { readonly client: object } }
  readonly routes: readonly [{ readonly exchange: object }]
}
const PUBLIC = {
  server: { publicOrigin: 'https://gateway.example' },
  admin: { token: 'the-token' },
}

const read = (more: object = {}): Config => readConfig({ ...BASE, ...PUBLIC, ...more })
const [route] = BASE.routes
const { storefront } = BASE.apis

for (const [what, more, changed] of [
  [
    'a secret',
    { apis: { storefront: { ...storefront, client: { id: 'storefront', secret: 'b' } } } },
    ['apis.storefront'],
  ],
  [
    'an issuer’s budget',
    { issuers: { tenant: { ...BASE.issuers.tenant, budget: { rate: 7 } } } },
    ['issuers.tenant'],
  ],
  [
    'an upstream',
    { routes: [{ ...route, proxy: { upstream: 'http://127.0.0.1:8' } }] },
    ['routes.orders'],
  ],
  ['the admin token', { admin: { token: 'a-token' } }, ['admin.token']],
  ['a limit', { server: { ...PUBLIC.server, limits: { inFlight: 3 } } }, ['server.limits']],
  [
    'what `provision` alone reads',
    { provision: { audiences: { 'https://orders.internal': { name: 'Orders' } } } },
    [],
  ],
] as const) {
  test(`${what} is a change of ${changed.join() || 'nothing'}`, async () => {
    const changes = await changesBetween(read(), read(more))
    assert.deepEqual(changes, { added: [], changed, removed: [] })
    assert.equal(isNothing(changes), changed.length === 0)
  })
}

test('who may call without a proof is a set, and a change of it is one', async () => {
  const exempt = (...confidentialClients: readonly string[]): Config =>
    read({
      apis: {
        storefront: {
          ...storefront,
          proofOfPossession: {
            mechanism: 'dpop',
            requiredFor: 'public_clients',
            confidentialClients,
          },
        },
      },
    })
  const changes = await changesBetween(exempt('one'), exempt('one', 'two'))
  assert.deepEqual(changes.changed, ['apis.storefront'])
  assert.ok(isNothing(await changesBetween(exempt('one'), exempt('one'))))
})

test('what callers sign by is a change of the token endpoint, and their issuer is none', async () => {
  const calling = (by: Signer, issuer: object = {}): Config => {
    const callers = { storefront: [{ publicKey: by.pem.publicKey }] }
    return read({
      issuers: { tenant: { ...BASE.issuers.tenant, ...issuer } },
      endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders'], callers } },
    })
  }
  const [one, other] = [signer(), signer()]
  const replaced = await changesBetween(calling(one), calling(other))
  assert.deepEqual(replaced.changed, ['endpoints.token'])
  const paced = await changesBetween(calling(one), calling(one, { budget: { rate: 7 } }))
  assert.deepEqual(paced.changed, ['issuers.tenant'])
  assert.ok(isNothing(await changesBetween(calling(one), calling(one))))
})

test("a client's own key that is another in its file is a change of what its callers sign by", async (t) => {
  const [one, other] = [signer(), signer()]
  const at = await folder(t, { 'key.pem': one.pem.privateKey })
  const file = join(at, 'key.pem')
  const config = (): Config =>
    read({
      apis: { storefront: { ...storefront, client: { id: 'storefront', privateKey: file } } },
      endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders'] } },
    })
  const before = config()
  assert.ok(isNothing(await changesBetween(before, config())))
  await writeFile(file, other.pem.privateKey)
  assert.deepEqual((await changesBetween(before, config())).changed, ['endpoints.token'])
})

import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/faults.ts'
import { loadConfigApart } from '../../src/config/load-apart.ts'
import { loadConfig } from '../../src/config/load.ts'
import { folder } from '../folder.ts'
import { YAML } from '../cli/behalf.ts'

const SECRET = '"${file:secret}"'
const WHOLE = `${YAML.replace('"${CLIENT_SECRET}"', SECRET)}server:
  publicOrigin: https://gateway.example
cache:
  redis: { url: "redis://127.0.0.1:1", sealingKeys: ["${hash('sha256', 'any', 'base64')}"] }
`.replace(
  'client: {',
  `proofOfPossession: { mechanism: dpop, requiredFor: public_clients, confidentialClients: [one, two] }
    client: {`,
)

test('on a thread of its own the same is read, to the kind of each value', async (t) => {
  const file = join(await folder(t, { 'behalf.yaml': WHOLE, secret: 'the-secret' }), 'behalf.yaml')
  const config = await loadConfigApart(file)
  assert.deepEqual(config, await loadConfig(file))
  assert.ok(config.cache.redis?.sealingKeys[0] instanceof Buffer)
  assert.equal(config.routes[0]?.authenticate.apis[0], config.apis[0])
})

test('what overrides the file does so there, too', async (t) => {
  const file = join(await folder(t, { 'behalf.yaml': WHOLE, secret: 'the-secret' }), 'behalf.yaml')
  const overrides = { 'server.listen': '127.0.0.1:7' }
  const { server } = await loadConfigApart(file, { overrides })
  assert.equal(server.listen.port, 7)
})

test('each file that it was read from is told, with or without faults', async (t) => {
  for (const more of ['', 'unknown: 1\n']) {
    const path = await folder(t, { 'behalf.yaml': WHOLE + more, secret: 'the-secret' })
    const noted = new Map<string, string | undefined>()
    const noteRead = (file: string, text: string | undefined): void => void noted.set(file, text)
    const loaded = loadConfigApart(join(path, 'behalf.yaml'), { noteRead })
    await (more === '' ? loaded : assert.rejects(loaded, { code: 'invalid_configuration' }))
    assert.deepEqual(
      noted,
      new Map([
        [join(path, '.env'), undefined],
        [join(path, 'behalf.yaml'), WHOLE + more],
        [join(path, 'secret'), 'the-secret'],
      ]),
    )
  }
})

test('faults come back as they are, with their places', async (t) => {
  const file = join(await folder(t, { 'behalf.yaml': `${WHOLE}unknown: 1\n` }), 'behalf.yaml')
  const faultsOf = async (loaded: Promise<unknown>): Promise<unknown> =>
    loaded.catch((error: unknown) => error instanceof ConfigError && error.faults)
  const faults = await faultsOf(loadConfigApart(file))
  assert.deepEqual(faults, await faultsOf(loadConfig(file)))
  assert.equal((faults as readonly unknown[]).length, 2)
  await assert.rejects(loadConfigApart(join(file, 'none.yaml')), { code: 'invalid_configuration' })
})

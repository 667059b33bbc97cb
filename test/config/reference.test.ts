import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { parseEnv } from 'node:util'
import { parse } from 'yaml'
import { z } from 'zod'
import { advice } from '../../src/config/advice.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configurationReference, publishedSchema } from '../../src/config/reference.ts'
import { configurationShape, type Shape } from '../../src/config/shape.ts'

// npm runs tests in the package's folder.
for (const [file, made, format] of [
  ['behalf.schema.json', publishedSchema, 'json'],
  ['docs/configuration.md', configurationReference, 'markdown'],
] as const) {
  test(`${file} is up to date`, async () => {
    const kept = await readFile(file, 'utf8')
    assert.ok(kept === made(), `run \`behalf schema --format ${format} > ${file}\``)
  })
}

/** Every option of the schema, by path. */
function* optionsOf(shape: Shape, path = ''): Iterable<readonly [string, Shape]> {
  for (const inner of [shape.items, shape.additionalProperties, ...(shape.anyOf ?? [])].flat()) {
    if (typeof inner === 'object') yield* optionsOf(inner, path)
  }
  for (const [key, option] of Object.entries(shape.properties ?? {})) {
    assert.ok(typeof option === 'object')
    yield [`${path}.${key}`, option]
    yield* optionsOf(option, `${path}.${key}`)
  }
}

test('every option says what it means, and stands in the reference', () => {
  const options = [...optionsOf(configurationShape())]
  assert.ok(options.length > 50)
  const reference = configurationReference()
  for (const [path, { description }] of options) {
    assert.match(description ?? '', /^[A-Z].*\.$/s, `${path} has no description`)
    assert.ok(
      reference.includes(description!.replaceAll('|', '\\|')),
      `${path} is not in the reference`,
    )
  }
})

test('the schema lets no unknown key pass, and asks for what the gateway asks for', () => {
  const schema = JSON.parse(publishedSchema()) as Shape
  assert.deepEqual(schema.required, ['issuers', 'apis', 'routes'])
  const open = [...optionsOf(schema)].filter(
    ([, { type, additionalProperties }]) => type === 'object' && additionalProperties === undefined,
  )
  assert.deepEqual(open, [])
  assert.ok(!publishedSchema().includes('"kind"'))
})

test('an editor with the published schema sees what the gateway sees', async () => {
  const schema = z.fromJSONSchema(JSON.parse(publishedSchema()) as z.core.JSONSchema.JSONSchema)
  const demo = async (from: string, to: string): Promise<boolean> => {
    const text = await readFile('deploy/demo/behalf.yaml', 'utf8')
    assert.ok(text.includes(from))
    return schema.safeParse(parse(text.replace(from, to))).success
  }
  assert.ok(await demo('profile: auth0', 'profile: auth0'))
  assert.ok(!(await demo('profile: auth0', 'profile: auth1')))
  assert.ok(!(await demo('profile: auth0', 'profil: auth0')))
  // Replaced later, and typed then.
  assert.ok(await demo('profile: auth0', 'profile: ${PROFILE}'))
  assert.ok(await demo('rate: 8', 'rate: "${RATE:-8}"'))
  assert.ok(!(await demo('rate: 8', 'rate: eight')))
})

test('secrets are marked, so that no editor shows them', () => {
  const secrets = [...optionsOf(configurationShape())].filter(
    ([, { writeOnly, items }]) => writeOnly ?? (items as Shape | undefined)?.writeOnly,
  )
  assert.deepEqual(
    secrets.map(([path]) => path),
    [
      '.server.tls.key',
      '.admin.token',
      '.admin.tls.key',
      '.issuers.management.clientSecret',
      '.issuers.management.token',
      '.apis.signingSecret',
      '.apis.signingSecrets',
      '.apis.decryptionKeys.key',
      '.apis.proofOfPossession.nonceSecret',
      '.apis.client.secret',
      '.apis.client.privateKey',
      '.apis.client.key',
      '.apis.client.dpopKey',
      '.routes.exchange.client.secret',
      '.routes.exchange.client.privateKey',
      '.routes.exchange.client.key',
      '.routes.exchange.client.dpopKey',
      '.routes.proxy.tls.key',
      '.endpoints.forwardAuth.tls.key',
      '.endpoints.token.tls.key',
      '.cache.redis.url',
      '.cache.redis.sentinel.password',
      '.cache.redis.password',
      '.cache.redis.tls.key',
      '.cache.redis.sealingKeys',
    ],
  )
})

test('the demo runs with .env.example as it stands, and needs all of it', async () => {
  const environment = parseEnv(await readFile('.env.example', 'utf8'))
  const config = await loadConfig('deploy/demo/behalf.yaml', { environment })
  assert.deepEqual(
    config.routes.map(({ name, authenticate: { apis } }) => [
      name,
      apis[0]?.name,
      apis[0]?.client?.id,
    ]),
    [
      ['orders', 'storefront', 'storefront-gateway'],
      ['inventory', 'storefront', 'storefront-gateway'],
      ['backoffice-orders', 'backoffice', 'backoffice-gateway'],
    ],
  )
  assert.deepEqual(advice(config), [])
  const text = await readFile('deploy/demo/behalf.yaml', 'utf8')
  const named = [...text.matchAll(/\$\{([A-Z_]+)\}/g)].map(([, name]) => name)
  assert.deepEqual(named.toSorted(), Object.keys(environment).toSorted())
})

test('the demo names the schema for editors', async () => {
  const text = await readFile('deploy/demo/behalf.yaml', 'utf8')
  assert.match(text, /^# yaml-language-server: \$schema=\.\.\/\.\.\/behalf\.schema\.json\n/)
  assert.equal(typeof parse(text), 'object')
})

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { behalf } from './behalf.ts'

for (const [argv, file] of [
  [['schema'], 'behalf.schema.json'],
  [['schema', '--format', 'json'], 'behalf.schema.json'],
  [['schema', '--format', 'markdown'], 'docs/configuration.md'],
] as const) {
  test(`\`behalf ${argv.join(' ')}\` prints ${file}, byte for byte, without a configuration`, async () => {
    const { code, out, err } = await behalf(argv)
    assert.equal(code, 0)
    assert.equal(err, '')
    assert.ok(out === (await readFile(file, 'utf8')))
  })
}

test('`behalf schema` knows no other format: exit 64', async () => {
  const { code, err } = await behalf(['schema', '--format', 'text'])
  assert.equal(code, 64)
  assert.match(err, /--format must be json or markdown/)
})

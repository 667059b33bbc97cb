import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { behalf, MAIN } from './behalf.ts'

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

test('a reader that goes away ends it without a stack', async (t) => {
  const child = spawn(process.execPath, [MAIN, 'schema'])
  t.after(() => child.kill('SIGKILL'))
  child.stdout.destroy()
  let err = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  const [code] = (await once(child, 'close')) as [number | null]
  assert.equal(err, '')
  assert.equal(code, 1)
})

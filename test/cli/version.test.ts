import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { behalf } from './behalf.ts'

for (const name of ['version', '--version', '-v']) {
  test(`\`behalf ${name}\` prints what package.json says`, async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string }
    const { code, out } = await behalf([name])
    assert.equal(code, 0)
    assert.equal(out, `${version}\n`)
    const { out: json } = await behalf([name, '--format', 'json'])
    assert.deepEqual(JSON.parse(json), { behalf: version, node: process.versions.node })
  })
}

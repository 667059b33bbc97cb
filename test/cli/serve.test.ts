import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { folder } from '../folder.ts'
import { MAIN } from './behalf.ts'

const YAML = `server: { listen: "127.0.0.1:0", drain: { delay: 60s } }
admin: { listen: "127.0.0.1:0" }
issuers:
  tenant: { issuer: "http://127.0.0.1:9/", profile: rfc8693 }
apis:
  storefront:
    issuer: tenant
    audience: https://storefront.example
    client: { id: storefront, secret: a-client-secret }
routes:
  - name: orders
    match: { path: /orders }
    authenticate: { api: storefront }
    exchange: { audience: https://orders.internal }
    proxy: { upstream: http://127.0.0.1:9 }
`

interface Running {
  readonly child: ChildProcess
  /** Its configuration. */
  readonly file: string
  /** Resolves when the output holds this. */
  saying(text: string): Promise<string>
  readonly ended: Promise<number | null>
}

/** Loaded before everything else: a defect that a signal brings out. */
const DEFECT = `process.on('SIGUSR2', () => {
  const cause = Object.assign(new Error('within'), { body: { access_token: 'sEcReT' } })
  Promise.reject(Object.assign(new Error('a defect', { cause }), { token: 'sEcReT' }))
})`

async function serve(t: TestContext, yaml: string, ...argv: string[]): Promise<Running> {
  const at = await folder(t, { 'behalf.yaml': yaml, 'defect.mjs': DEFECT })
  const file = join(at, 'behalf.yaml')
  const NODE_OPTIONS = `--import ${pathToFileURL(join(at, 'defect.mjs')).href}`
  const env = { PATH: process.env['PATH'], NODE_OPTIONS }
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', file, ...argv], { env })
  t.after(() => child.kill('SIGKILL'))
  let output = ''
  const read = (chunk: Buffer): void => void (output += chunk.toString('utf8'))
  child.stdout.on('data', read)
  child.stderr.on('data', read)
  return {
    ...{ child, file },
    ended: once(child, 'close').then(([code]) => code as number | null),
    async saying(text) {
      while (!output.includes(text)) {
        if (child.exitCode !== null) throw new Error(`it ended and said:\n${output}`)
        await sleep(5)
      }
      return output
    },
  }
}

test('SIGTERM drains and ends with 0', async (t) => {
  const { child, saying, ended } = await serve(t, YAML.replace('60s', '0ms'))
  await saying('"msg":"listening"')
  child.kill('SIGTERM')
  assert.equal(await ended, 0)
})

test('a signal that follows at once is an echo; a later one ends the drain, with 1', async (t) => {
  const { child, saying, ended } = await serve(t, YAML)
  await saying('"msg":"listening"')
  child.kill('SIGINT')
  child.kill('SIGTERM')
  await saying('"msg":"draining"')
  await sleep(1_000)
  assert.equal(child.exitCode, null)
  child.kill('SIGTERM')
  assert.equal(await ended, 1)
})

test('a defect ends it with 1, and what hangs on the error is not told', async (t) => {
  const { child, saying, ended } = await serve(t, YAML)
  await saying('"msg":"listening"')
  child.kill('SIGUSR2')
  assert.equal(await ended, 1)
  const output = await saying('a defect')
  assert.match(output, /^\{"level":"fatal".*"message":"a defect".*"message":"within".*\}$/m)
  assert.ok(!output.includes('sEcReT'), output)
})

test('a defect of a worker is told like one of a process', async (t) => {
  const { child, saying } = await serve(t, YAML.replace('60s', '0ms'), '--workers', '2')
  const [, pid = ''] = /"pid":(\d+)/.exec(await saying('"msg":"listening"')) ?? []
  assert.notEqual(Number(pid), child.pid)
  process.kill(Number(pid), 'SIGUSR2')
  const output = await saying('a defect')
  assert.match(output, /"level":"fatal"/)
  assert.ok(!output.includes('sEcReT'), output)
})

test('without its issuer it serves all the same, and says what it lacks', async (t) => {
  const { child, saying } = await serve(t, YAML)
  const output = await saying('the keys cannot be had yet')
  assert.equal(child.exitCode, null)
  assert.match(output, /"issuer":"http:\/\/127\.0\.0\.1:9\/"/)
})

test('a port that is taken ends it with 1', async (t) => {
  const { saying } = await serve(t, YAML)
  const [, port] =
    /"origin":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(await saying('"msg":"listening"')) ?? []
  const second = await serve(t, YAML.replace('127.0.0.1:0', `127.0.0.1:${port}`))
  assert.equal(await second.ended, 1)
})

test('SIGHUP reads the configuration again: what has faults is told, and what is good is served', async (t) => {
  const { child, file, saying, ended } = await serve(t, YAML.replace('60s', '0ms'))
  await saying('"msg":"listening"')
  await writeFile(file, `${YAML}unknown: 1\n`)
  child.kill('SIGHUP')
  assert.match(await saying('"msg":"reload"'), /"outcome":"refused".*unknown key/)
  await writeFile(file, YAML.replace('60s', '0ms').replace('name: orders', 'name: renamed'))
  child.kill('SIGHUP')
  await saying('"added":["routes.renamed"]')
  child.kill('SIGTERM')
  assert.equal(await ended, 0)
})

test('with --watch it reads the configuration again when a file of it changes', async (t) => {
  const secret = join(await folder(t, { secret: 'the-first-secret' }), 'secret')
  const yaml = YAML.replace('a-client-secret', `"\${file:${secret}}"`)
  const { file, saying } = await serve(t, yaml, '--watch')
  await saying('"msg":"listening"')
  await replace(secret, 'the-second-secret')
  await saying('"changed":["apis.storefront"]')
  await replace(file, `${yaml}unknown: 1\n`)
  const output = await saying('"outcome":"refused"')
  assert.equal(output.includes('-secret"'), false)
})

/** At once: nobody sees half of it. */
async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}

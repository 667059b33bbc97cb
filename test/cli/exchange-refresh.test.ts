import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { rotatingTenant, type RotatingTenant } from '../exchange/rotating.ts'
import { folder } from '../folder.ts'
import { behalf, type Ended } from './behalf.ts'
import { behalfAgain } from './resident.ts'

interface Setting {
  readonly rotating: RotatingTenant
  readonly accessToken: string
  readonly refreshToken: string
  readonly cwd: string
  run(...argv: readonly string[]): Promise<Ended>
}

async function setting(t: TestContext): Promise<Setting> {
  const rotating = await rotatingTenant(t)
  const { accessToken, refreshToken } = await rotating.login()
  const configuration = rotating.configuration('http://127.0.0.1:9')
  const cwd = await folder(t, {
    'behalf.yaml': JSON.stringify(configuration),
    access: accessToken,
    refresh: `${refreshToken}\n`,
  })
  const run: Setting['run'] = (route, ...argv) =>
    behalfAgain(['exchange', route ?? '', '--token-file', 'access', ...argv], { cwd })
  return { rotating, accessToken, refreshToken, cwd, run }
}

test('a refresh token is redeemed once, and its file holds what replaced it', async (t) => {
  const { rotating, refreshToken, accessToken, cwd, run } = await setting(t)
  const refresh = ['--refresh-token-file', 'refresh']

  const first = await run('orders', ...refresh)
  const successor = (await readFile(join(cwd, 'refresh'), 'utf8')).trim()
  const second = await run('inventory', '--format', 'json', ...refresh)

  assert.deepEqual([first.code, second.code], [0, 0], first.err + first.out + second.err)
  assert.match(first.out, /route +orders, by refresh-token/)
  assert.match(first.out, /grant_type +refresh_token/)
  assert.match(first.out, /aud +https:\/\/orders\.internal/)
  assert.match(first.out, /withheld: .*refresh_token/)
  assert.notEqual(successor, refreshToken)
  assert.equal(rotating.refreshes(), 2)
  const last = (await readFile(join(cwd, 'refresh'), 'utf8')).trim()
  const { secret } = rotating.client
  for (const hidden of [refreshToken, successor, last, accessToken, secret]) {
    for (const { out, err } of [first, second]) assert.equal((out + err).includes(hidden), false)
  }
})

test('a route that redeems needs a file to write to, and another has no use for one', async (t) => {
  const { rotating, run } = await setting(t)

  const without = await run('orders')
  const piped = await run('orders', '--refresh-token-file', '-')
  const useless = await run('public', '--refresh-token-file', 'refresh')

  assert.deepEqual([without.code, piped.code, useless.code], [64, 64, 64])
  assert.match(without.err, /--refresh-token-file is needed/)
  assert.match(piped.err, /must be a file/)
  assert.match(useless.err, /redeems no refresh token/)
  assert.equal(rotating.refreshes(), 0)
})

test('`check` says by whom refresh tokens are redeemed, and what their tokens are kept by', async (t) => {
  const { cwd, rotating } = await setting(t)

  const told = await behalf(['check'], { cwd })

  assert.equal(told.code, 0, told.err)
  const line = /by refresh-token for https:\/\/orders\.internal \[orders:read\], of client web's in/
  assert.match(told.out, line)
  assert.match(told.out, /x-refresh-token, kept by token and refresh token for at most 1h/)
  assert.equal(told.out.includes(rotating.client.secret), false)
})

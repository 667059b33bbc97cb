import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { MAIN } from './behalf.ts'
import { behalfAgain } from './resident.ts'

const ANY_PORT = ['--listen', '127.0.0.1:0']

interface Started {
  readonly child: ChildProcess
  readonly text: string
  readonly url: string
}

/** Starts `behalf tenant` and reads what it says until it has said the last of it. */
async function start(
  t: TestContext,
  flags: readonly string[],
  last: RegExp,
  environment: NodeJS.ProcessEnv = {},
): Promise<Started> {
  const env = { ...process.env, ...environment }
  const child = spawn(process.execPath, [MAIN, 'tenant', ...flags], { env })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    text += String(chunk)
    if (last.test(text)) break
  }
  return { child, text, url: /http:\S+\//.exec(text)?.[0] ?? '' }
}

const hasCurl = spawnSync('curl', ['--version']).error === undefined

test(
  'behalf tenant prints a curl that works as pasted',
  { skip: hasCurl ? false : 'there is no curl here' },
  async (t) => {
    const { text, url } = await start(t, ANY_PORT, /-d scope=.*\n/)
    const command = text.slice(text.lastIndexOf('curl'))
    const { stdout } = await promisify(execFile)('sh', ['-c', command])
    const { access_token: token } = JSON.parse(stdout) as { access_token: string }
    const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as object
    assert.deepEqual(
      { ...claims, iat: 0, exp: 0 },
      {
        iss: url,
        sub: 'auth0|alice',
        aud: 'https://storefront.example',
        iat: 0,
        exp: 0,
        scope: 'read:orders write:orders read:inventory',
        azp: 'spa',
        gty: 'password',
      },
    )
  },
)

test(
  'behalf tenant prints commands that make faults, and end them, as pasted',
  { skip: hasCurl ? false : 'there is no curl here' },
  async (t) => {
    const { text, url } = await start(t, ANY_PORT, /-d scope=.*\n/)
    const [fault = '', clear = ''] = /curl [^]*?_tenant[^]*?\n\n/
      .exec(text)![0]
      .split(/\n {2}(?=curl)/)
    const exchange = async (): Promise<number> => {
      const body = new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      })
      return (await fetch(`${url}oauth/token`, { method: 'POST', body })).status
    }
    assert.equal(await exchange(), 401)
    await promisify(execFile)('sh', ['-c', fault])
    assert.equal(await exchange(), 500)
    await promisify(execFile)('sh', ['-c', clear])
    assert.equal(await exchange(), 401)
  },
)

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`behalf tenant ends well on ${signal}`, async (t) => {
    const { child, url } = await start(t, ANY_PORT, /-d scope=.*\n/)
    assert.equal((await fetch(`${url}.well-known/jwks.json`)).status, 200)
    child.kill(signal)
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })
}

test('behalf tenant --empty knows nobody', async (t) => {
  const { child, url } = await start(t, [...ANY_PORT, '--empty'], /no objects yet/)
  const body = new URLSearchParams({ grant_type: 'password', client_id: 'spa' })
  const response = await fetch(`${url}oauth/token`, { method: 'POST', body })
  assert.equal(response.status, 401)
  child.kill('SIGTERM')
  await once(child, 'exit')
})

test('behalf tenant --empty --people knows who logs in, and no API; --people alone is a wrong command line', async (t) => {
  const { url, text } = await start(t, [...ANY_PORT, '--empty', '--people'], /no APIs yet.*\n/)
  assert.match(text, /Its users: alice\/wonderland, bob\/builder\./)
  const form = {
    grant_type: 'password',
    client_id: 'spa',
    username: 'alice',
    password: 'wonderland',
  }
  const status = async (audience: string): Promise<number> => {
    const body = new URLSearchParams({ ...form, audience })
    return (await fetch(`${url}oauth/token`, { method: 'POST', body })).status
  }
  assert.notEqual(await status('https://storefront.example'), 200)
  const child = spawn(process.execPath, [MAIN, 'tenant', ...ANY_PORT, '--people'])
  assert.deepEqual(await once(child, 'exit'), [64, null])
})

async function managementStatus(url: string, id: string, secret: string): Promise<number> {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: id,
    client_secret: secret,
    audience: `${url}api/v2/`,
  })
  return (await fetch(`${url}oauth/token`, { method: 'POST', body })).status
}

test('behalf tenant prints who may manage it, as behalf provision reads it', async (t) => {
  for (const flags of [[], ['--empty']]) {
    const { text, url } = await start(t, [...ANY_PORT, ...flags], /AUTH0_CLIENT_SECRET=.*\n/)
    const [, id = '', secret = ''] =
      /AUTH0_CLIENT_ID=(\w+)\n {2}AUTH0_CLIENT_SECRET=(\w+)\n/.exec(text) ?? []
    assert.equal(await managementStatus(url, id, secret), 200)
    assert.equal(await managementStatus(url, id, `${secret}x`), 401)
  }
})

test('behalf tenant takes the one who may manage it from the environment, and does not say it', async (t) => {
  const environment = {
    BEHALF_TENANT_CLIENT_ID: 'manager',
    BEHALF_TENANT_CLIENT_SECRET: 'a-secret-of-the-environment',
  }
  const { text, url } = await start(t, [...ANY_PORT, '--empty'], /environment\.\n/, environment)
  assert.ok(!text.includes(environment.BEHALF_TENANT_CLIENT_SECRET))
  assert.equal(await managementStatus(url, 'manager', 'a-secret-of-the-environment'), 200)
})

test('behalf tenant with half of a Management client is a wrong command line', async () => {
  const env = { ...process.env, BEHALF_TENANT_CLIENT_ID: 'manager' }
  const child = spawn(process.execPath, [MAIN, 'tenant', ...ANY_PORT], { env })
  assert.deepEqual(await once(child, 'exit'), [64, null])
})

test('behalf tenant does not leave loopback: a usage error', async () => {
  assert.equal((await behalfAgain(['tenant', '--listen', '0.0.0.0:0'])).code, 64)
})

for (const [flags, line] of [
  [[], 'limit    8 exchanges per second, 8 at once'],
  [['--limit', '30'], 'limit    30 exchanges per second, 30 at once'],
  [['--limit', '0.5/2'], 'limit    0.5 exchanges per second, 2 at once'],
  [['--limit', 'off'], 'limit    none'],
] as const) {
  test(`behalf tenant ${flags.join(' ')} has the ${line}`, async (t) => {
    const { child, text } = await start(t, [...ANY_PORT, ...flags], /-d scope=.*\n/)
    assert.ok(text.includes(`  ${line}\n`), text)
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
}

for (const limit of ['0', '8/0', '-1', 'fast', '8/8/8', '1e3']) {
  test(`behalf tenant --limit=${limit} is a wrong command line`, async () => {
    assert.equal((await behalfAgain(['tenant', ...ANY_PORT, `--limit=${limit}`])).code, 64)
  })
}

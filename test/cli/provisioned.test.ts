/** From an empty tenant to a served request, with every part a process of its own. */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { stringify } from 'yaml'
import { configuration, SOURCE } from '../provision/tenant.ts'
import { bearer, startUpstream } from '../system.ts'
import { folder } from '../folder.ts'
import { behalf, MAIN } from './behalf.ts'

const MANAGER = { id: 'manager', secret: 'the-secret-of-the-manager' }

/** Starts `behalf COMMAND`, and reads what it says until it has said the last of it. */
async function running(
  t: TestContext,
  argv: readonly string[],
  { cwd, environment, last }: { cwd: string; environment: object; last: RegExp },
): Promise<{ readonly child: ChildProcess; readonly said: RegExpExecArray }> {
  const env = { PATH: process.env['PATH'], ...environment }
  const child = spawn(process.execPath, [MAIN, ...argv], { cwd, env })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    text += String(chunk)
    const said = last.exec(text)
    if (said === null) continue
    child.stdout.resume()
    return { child, said }
  }
  assert.fail(`behalf ${argv.join(' ')} ended:\n${text}`)
}

test('an empty tenant is planned, set up, proven and served, by the commands alone', async (t) => {
  const cwd = await folder(t, {})
  const upstream = await startUpstream(t)
  const tenant = await running(t, ['tenant', '--empty', '--people', '--listen', '127.0.0.1:0'], {
    ...{ cwd, last: /listens at (http:\S+\/) and has no APIs yet[^]*for the client of/ },
    environment: {
      BEHALF_TENANT_CLIENT_ID: MANAGER.id,
      BEHALF_TENANT_CLIENT_SECRET: MANAGER.secret,
    },
  })
  const [, issuer = ''] = tenant.said
  const wanted = configuration(issuer, {
    server: { listen: '127.0.0.1:0' },
    admin: { listen: '127.0.0.1:0' },
    'routes[0].proxy.upstream': upstream.origin,
    'apis.storefront.signingSecret': '${SIGNING_SECRET}',
  })
  await writeFile(join(cwd, 'behalf.yaml'), stringify(wanted))
  const environment = { AUTH0_CLIENT_ID: MANAGER.id, AUTH0_CLIENT_SECRET: MANAGER.secret }
  const run = async (code: number, ...argv: readonly string[]): Promise<string> => {
    const ended = await behalf(argv, { cwd, environment })
    assert.equal(ended.code, code, `behalf ${argv.join(' ')}: ${ended.out}${ended.err}`)
    return ended.out
  }
  await run(2, 'provision')
  await run(0, 'provision', '--apply', '--write-env', '.env')
  assert.match(await run(0, 'provision'), /Nothing is to be done/)

  const form = {
    grant_type: 'password',
    client_id: 'spa',
    username: 'alice',
    password: 'wonderland',
  }
  const body = new URLSearchParams({ ...form, audience: SOURCE })
  const answer = await fetch(`${issuer}oauth/token`, { method: 'POST', body })
  const { access_token: token } = (await answer.json()) as { readonly access_token: string }
  await writeFile(join(cwd, 'token'), token)
  const proven = await run(0, 'check', '--live', '--subject-token', 'storefront=token')
  assert.match(proven, /^ok +\/orders {2}exchange {2}storefront/m)
  assert.doesNotMatch(proven, /^(?:failed|unproven)/m)

  const gateway = await running(t, ['serve'], {
    ...{
      cwd,
      environment: {},
      last: /"origin":"(http:[^"]+)".*"listening"/,
    },
  })
  const [, origin = ''] = gateway.said
  const served = await fetch(`${origin}/orders`, bearer(token))
  assert.equal(served.status, 200)
  assert.equal((await fetch(`${origin}/orders`)).status, 401)
  for (const { child } of [gateway, tenant]) {
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [0, null])
  }
})

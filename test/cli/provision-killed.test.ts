/** A run that is killed as a process, in the middle of a call that was done and not answered, is run again. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type TestContext } from 'node:test'
import { parseEnv } from 'node:util'
import { stringify } from 'yaml'
import { createTenant, type Tenant } from '../../src/tenant/index.ts'
import { configuration, wholeOf } from '../provision/tenant.ts'
import { folder } from '../folder.ts'
import { MAIN } from './behalf.ts'
import { behalfAgain } from './resident.ts'
import { signingKey } from '../tenant/signing-key.ts'

const APPLY = ['provision', '--apply', '--write-env', '.env']

async function setting(t: TestContext) {
  const tenant = await createTenant({ signingKey, empty: true })
  t.after(() => tenant.close())
  const cwd = await folder(t, { 'behalf.yaml': stringify(configuration(tenant.url)) })
  const { clientId, clientSecret } = tenant.management
  const environment = { AUTH0_CLIENT_ID: clientId, AUTH0_CLIENT_SECRET: clientSecret }
  return { tenant, cwd, environment }
}

function countOf({ state }: Tenant): number {
  return state.resourceServers.size + state.clients.size + state.clientGrants.size
}

for (const [call, made] of [
  ['POST /resource-servers', 1],
  ['POST /clients', 3],
  ['POST /client-grants', 4],
] as const) {
  test(`killed in ${call}, it ends in the same state when it is run again`, async (t) => {
    const whole = await setting(t)
    assert.equal((await behalfAgain(APPLY, whole)).code, 0)
    const { tenant, cwd, environment } = await setting(t)
    // Done, and answered when nobody is there any more.
    tenant.fault({ kind: 'slow', delayMs: 60_000, management: call })
    const env = { PATH: process.env['PATH'], ...environment }
    const child = spawn(process.execPath, [MAIN, ...APPLY], { cwd, env, stdio: 'ignore' })
    const gone = once(child, 'exit')
    while (countOf(tenant) < made) await wait(5)
    child.kill('SIGKILL')
    assert.deepEqual(await gone, [null, 'SIGKILL'])
    tenant.clearFaults()
    const { code, err } = await behalfAgain(APPLY, { cwd, environment })
    assert.equal(code, 0, err)
    assert.deepEqual(wholeOf(tenant), wholeOf(whole.tenant))
    const [client] = tenant.state.clients.values()
    const { CLIENT_ID: id, CLIENT_SECRET: secret } = parseEnv(
      await readFile(join(cwd, '.env'), 'utf8'),
    )
    assert.deepEqual([id, secret], [client?.client_id, client?.client_secret])
  })
}

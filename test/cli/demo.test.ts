import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startCast, type Cast } from '../../src/cli/demo/cast.ts'
import { createScreen, wantsColours } from '../../src/cli/demo/screen.ts'
import { StepFailed, walk } from '../../src/cli/demo/walk.ts'
import type { Client } from '../../src/tenant/index.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly text: string
}

function demo(
  t: TestContext,
  flags: readonly string[],
  node: readonly string[] = [],
): ChildProcess {
  const child = spawn(process.execPath, [...node, MAIN, 'demo', ...flags])
  t.after(() => child.kill('SIGKILL'))
  return child
}

/** Runs the demo to its end. */
async function ended(child: ChildProcess): Promise<Ended> {
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, text }
}

/** What the demo has said once it stays up. */
async function settled(child: ChildProcess): Promise<string> {
  let text = ''
  await new Promise<void>((resolve, reject) => {
    child.once('close', () => reject(new Error(`it ended:\n${text}`)))
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (text.includes('Ctrl-C ends it all.')) resolve()
    })
  })
  return text
}

test('behalf demo --once walks six steps and exits 0', async (t) => {
  const { code, text } = await ended(demo(t, ['--once']))
  assert.equal(code, 0, text)
  for (const step of [1, 2, 3, 4, 5, 6]) assert.match(text, new RegExp(`^ ${step}  \\S`, 'm'))
  assert.match(text, /Every step held/)
  assert.match(text, /aud +https:\/\/orders\.internal\n +sub +auth0\|alice\n +scope +orders:read\n/)
  assert.match(text, /act +\{"sub":"[A-Za-z0-9]{32}","act":\{"sub":"spa"\}\}/)
  assert.match(
    text,
    /behalf provision {3}9 to create .*\n +\+ resource-server https:\/\/storefront/,
  )
  assert.match(text, /behalf provision {3}nothing is to be done/)
  assert.equal(text.includes('\u001b'), false)
  assert.deepEqual(
    text.split('\n').filter((line) => line.length > 80),
    [],
  )
  assert.doesNotMatch(text, /eyJ/)
})

/** Loaded before the demo: what the gateway answers for the orders is an error. */
const BROKEN = `data:text/javascript,${encodeURIComponent(`
  const own = globalThis.fetch
  globalThis.fetch = async (url, init) =>
    String(url).endsWith('/orders') ? new Response('{}', { status: 500 }) : own(url, init)
`)}`

for (const flags of [['--once'], []]) {
  test(`behalf demo ${flags.join(' ')} exits 1 and names the step that did not hold`, async (t) => {
    const child = demo(t, flags, ['--import', BROKEN])
    const { code, text } = await ended(child)
    assert.equal(code, 1)
    assert.match(text, /step 3 did not hold .*status: 500 instead of 200/)
    assert.doesNotMatch(text, /Every step held/)
  })
}

const hasCurl = spawnSync('curl', ['--version']).error === undefined

test(
  'two demos stay up beside each other; their curls work as pasted; Ctrl-C ends them',
  { skip: hasCurl ? false : 'there is no curl here' },
  async (t) => {
    const children = [demo(t, []), demo(t, [])]
    for (const child of children) {
      const text = await settled(child)
      const commands = text
        .split('\n')
        .filter((line) => line.startsWith('  ') && /^ +(?:TOKEN=|curl|-d|\|)/.test(line))
      const { stdout } = await promisify(execFile)('sh', ['-c', commands.join('\n')])
      assert.equal(stdout.match(/^HTTP\/1\.1 200 OK/gm)?.length, 2, stdout)
      for (const claim of ['"aud": "https://orders.internal"', '"sub": "auth0|alice"']) {
        assert.ok(stdout.includes(claim), claim)
      }
      assert.match(stdout, /"aud": "https:\/\/inventory\.internal"/)
      assert.match(stdout, /^behalf_cache_total\{/m)
    }
    for (const child of children) {
      child.kill('SIGINT')
      assert.deepEqual(await once(child, 'exit'), [0, null])
    }
  },
)

test('Ctrl-C within the walk ends it with 0, and no step is said to have failed', async (t) => {
  // The answer that step 3 waits for never comes, so that the signal finds the walk at work.
  const waiting = `data:text/javascript,${encodeURIComponent(`
    const own = globalThis.fetch
    globalThis.fetch = (url, init) => {
      if (!String(url).endsWith('/orders')) return own(url, init)
      process.stdout.write('waiting\\n')
      return new Promise((_, reject) => process.once('SIGINT', () => reject(new Error('gone'))))
    }
  `)}`
  const child = demo(t, [], ['--import', waiting])
  const end = ended(child)
  for await (const chunk of child.stdout!) if (String(chunk).includes('waiting')) break
  child.kill('SIGINT')
  const { code, text } = await end
  assert.equal(code, 0, text)
  assert.doesNotMatch(text, /did not hold/)
})

interface Played {
  readonly failure: unknown
  readonly text: string
}

/** The walk, with something changed beforehand. */
async function play(change: (cast: Cast) => void): Promise<Played> {
  const cast = await startCast(() => undefined)
  let text = ''
  const screen = createScreen({ write: (part) => void (text += part), isColourful: false })
  change(cast)
  const failure = await walk(cast, screen)
    .catch((error: unknown) => error)
    .finally(() => cast.close())
  return { failure, text }
}

test('the walk holds on the cast as it starts', async () => {
  assert.equal((await play(() => undefined)).failure, undefined)
})

/** The client that the storefront acts as. */
function gatewayOf({ tenant: { state } }: Cast): Client {
  return state.client(state.resourceServer('https://storefront.example')!.client_id!)!
}

for (const [what, step, change] of [
  [
    'a grant that is gone when it is looked at',
    1,
    ({ tenant: { state } }) => state.removeClientGrant([...state.clientGrants.keys()][0]!),
  ],
  [
    'a user with another password',
    2,
    ({ tenant }) => void (tenant.state.users.get('alice')!.password = 'x'),
  ],
  ['a client that may not exchange', 3, (cast) => void delete gatewayOf(cast).token_exchange],
  [
    'issued tokens that are dead at birth, so that none is kept',
    4,
    ({ tenant }) => {
      tenant.state.resourceServers.get('https://orders.internal')!.token_lifetime = 0
    },
  ],
  [
    'a user who holds the scope after all',
    6,
    ({ tenant }) => {
      const more = { resource_server_identifier: 'https://storefront.example' }
      const bob = tenant.state.users.get('bob')!
      bob.permissions.push({ ...more, permission_name: 'read:orders' })
    },
  ],
] satisfies [string, number, (cast: Cast) => void][]) {
  test(`the walk fails in step ${step} with ${what}`, async () => {
    const { failure } = await play(change)
    assert.ok(failure instanceof StepFailed, String(failure))
    assert.match(failure.message, new RegExp(`^step ${step} did not hold`))
  })
}

test('colours are for terminals, and not for those who ask to be spared', () => {
  assert.equal(wantsColours({ isTTY: true }, {}), true)
  assert.equal(wantsColours({ isTTY: true }, { NO_COLOR: '' }), true)
  assert.equal(wantsColours({ isTTY: true }, { NO_COLOR: '1' }), false)
  assert.equal(wantsColours({}, {}), false)
})

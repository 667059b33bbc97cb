/* Families of refresh tokens between replicas, against an issuer to which one that comes twice is the end of its family. */
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { test, type TestContext } from 'node:test'
import { createSeals } from '../../src/store/seal.ts'
import { LEASE_MS } from '../../src/store/shared.ts'
import { LIFE, type Renewing, renewing } from '../exchange/renewing.ts'
import { NO_REDIS, until } from '../redis.ts'
import {
  type Changes,
  connected,
  order,
  purge,
  raw,
  SEALING_KEY,
  world,
  type World,
} from '../replicas.ts'
import type { ReplicaSetting } from '../judge/replica.ts'
import type { Gateway } from '../system.ts'

/** A late answer is not what is tested: the machine is shared. */
const PATIENT = { timeout: '10s' }
const RENEW = { exchange: { renew: 'refresh-token' }, redis: PATIENT }
/** Families that a refreshed subject token takes over, at every replica. */
const SHARING: Changes = { ...RENEW, redis: { ...PATIENT, shareContext: true } }

interface Families extends World {
  readonly tenant: Renewing
}

async function families(t: TestContext): Promise<Families> {
  const all = await world(t)
  const replica: World['replica'] = (changes) => connected(all.replica(changes))
  return { ...all, replica, tenant: renewing(all.issuer) }
}

/** What replicas do when issued tokens have ended, of which none has any in memory. */
async function endIssued({ redis }: World): Promise<void> {
  const names = (await redis.command('KEYS', 'behalf:entry:*')) as string[]
  if (names.length > 0) await redis.command('DEL', ...names)
}

/** What a replica sends last is there a little later. */
async function shared({ redis }: World, least = 1): Promise<string[]> {
  for (;;) {
    const names = (await redis.command('KEYS', 'behalf:family:*')) as string[]
    const entries = (await redis.command('KEYS', 'behalf:entry:*')) as string[]
    if (names.length >= least && entries.length >= least) return names
  }
}

function counted({ metrics }: Gateway, outcome: string): number {
  const line = `behalf_refresh_families_total{outcome="${outcome}"} `
  const found = metrics.render().split('\n')
  return Number(found.find((one) => one.startsWith(line))?.slice(line.length) ?? 0)
}

/** Every refresh token was redeemed once at most. */
function assertNoneTwice({ issuer }: World): void {
  const sent = issuer.exchanges.flatMap((form) => form.get('refresh_token') ?? [])
  assert.equal(new Set(sent).size, sent.length)
}

test(
  'replicas that want one token renewed at once make one refresh, and the family lives',
  { skip: NO_REDIS },
  async (t) => {
    const all = await families(t)
    const token = await all.issuer.token()
    assert.equal(await order(await all.replica(RENEW), token), 200)
    for (let round = 1; round <= 2; round++) {
      await shared(all)
      await endIssued(all)
      all.tenant.slowMs = 100
      const replicas = await Promise.all(Array.from({ length: 4 }, () => all.replica(RENEW)))
      const answers = await Promise.all(
        replicas.flatMap((one) => Array.from({ length: 5 }, () => order(one, token))),
      )
      assert.deepEqual(new Set(answers), new Set([200]))
      assert.deepEqual(all.tenant.asked(), ['exchange', ...Array<string>(round).fill('refresh')])
    }
    assertNoneTwice(all)
  },
)

test(
  'a refreshed subject token takes the family over at another replica where that is said',
  { skip: NO_REDIS },
  async (t) => {
    const all = await families(t)
    for (const [changes, asked] of [
      [SHARING, ['exchange', 'refresh']],
      [RENEW, ['exchange', 'exchange']],
    ] as const) {
      all.issuer.exchanges.length = 0
      await all.redis.command('FLUSHALL')
      assert.equal(await order(await all.replica(changes), await all.issuer.token()), 200)
      await shared(all)
      assert.equal(await order(await all.replica(changes), await all.issuer.token()), 200)
      assert.deepEqual(all.tenant.asked(), asked)
    }
  },
)

test(
  'twenty tokens of one context at four replicas: one of them takes the family, the others are exchanged',
  { skip: NO_REDIS },
  async (t) => {
    const all = await families(t)
    const replicas = await Promise.all(Array.from({ length: 4 }, () => all.replica(SHARING)))
    assert.equal(await order(replicas[0]!, await all.issuer.token()), 200)
    await shared(all)
    const tokens = await Promise.all(Array.from({ length: 20 }, () => all.issuer.token()))
    const answers = await Promise.all(
      tokens.map((token, index) => order(replicas[index % 4]!, token)),
    )
    assert.deepEqual(new Set(answers), new Set([200]))
    assertNoneTwice(all)
    assert.ok(all.tenant.asked().includes('refresh'))
  },
)

test(
  'a replica that dies with a family costs one exchange, and delays nobody beyond its claim',
  { skip: NO_REDIS },
  async (t) => {
    const all = await families(t)
    const token = await all.issuer.token()
    const survivor = await all.replica({ ...RENEW, redis: { ...PATIENT, url: all.redis.url } })
    const other = await all.replica({ ...RENEW, redis: { ...PATIENT, url: all.redis.url } })
    assert.equal(await order(survivor, token), 200)
    await shared(all)
    await endIssued(all)
    const usual = all.issuer.answer
    const refreshing = new Promise<void>((resolve) => {
      all.issuer.answer = async (form, response) => {
        if (form.get('grant_type') !== 'refresh_token') return usual(form, response)
        resolve()
      }
    })
    const dying = await startDying(t, all)
    const lost = fetch(`${dying.origin}/orders`, { headers: { authorization: `Bearer ${token}` } })
    lost.catch(() => undefined)
    await Promise.race([refreshing, lost.then(() => assert.fail('nothing was refreshed'))])
    await dying.kill()
    await assert.rejects(lost)

    const [claim = ''] = (await all.redis.command('KEYS', 'behalf:claim:*')) as string[]
    const left = (await all.redis.command('PTTL', claim)) as number
    assert.ok(left <= LEASE_MS, `${left} ms`)
    assert.equal(await order(other, token), 200)
    assert.deepEqual(all.tenant.asked(), ['exchange', 'refresh', 'exchange'])
    assertNoneTwice(all)
  },
)

/** A replica in a process of its own. */
async function startDying(
  t: TestContext,
  { issuer, redis }: World,
): Promise<{ readonly origin: string; kill(): Promise<void> }> {
  const setting: ReplicaSetting = {
    issuer: issuer.url,
    exchange: RENEW.exchange,
    redis: { url: redis.url, sealingKeys: [SEALING_KEY], ...PATIENT },
  }
  const file = fileURLToPath(new URL('../judge/replica.js', import.meta.url))
  const child = fork(file, [JSON.stringify(setting)], { stdio: 'ignore' })
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  t.after(kill)
  const [origin] = (await once(child, 'message')) as [string]
  return { origin, kill }
}

test(
  'a family that was given while Redis is gone stays in its process, and is shared when it is back',
  { skip: NO_REDIS },
  async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const all = await families(t)
    // As the default user: what was set up for the other one is gone with the server.
    const changes = { ...RENEW, redis: { ...PATIENT, url: all.redis.url } }
    const [one, other] = [await all.replica(changes), await all.replica(changes)]
    const token = await all.issuer.token({ exp: Math.floor(Date.now() / 1_000) + 3_600 })
    await all.redis.kill()
    assert.equal(await order(one, token), 200)
    assert.equal(await order(other, token), 200)
    t.mock.timers.tick(LIFE * 1_000)
    assert.equal(await order(one, token), 200)
    // What one was given the other does not have: each goes on with its own.
    assert.equal(await order(other, token), 200)
    assert.deepEqual(all.tenant.asked(), ['exchange', 'exchange', 'refresh', 'refresh'])

    await all.redis.start()
    while (!one.logged().split('redis is gone').at(-1)?.includes('redis is there')) {
      await new Promise(setImmediate)
    }
    t.mock.timers.tick(LIFE * 1_000)
    assert.equal(await order(one, token), 200)
    assert.equal((await shared(all)).length, 1)
    await endIssued(all)
    assert.equal(await order(await all.replica(changes), token), 200)
    assert.deepEqual(all.tenant.asked().slice(4), ['refresh', 'refresh'])
    assertNoneTwice(all)
    assert.equal(counted(one, 'local'), 2)
  },
)

test(
  'a family whose refresh outlasts Redis is kept by the process that has it',
  { skip: NO_REDIS },
  async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const all = await families(t)
    const one = await all.replica(RENEW)
    const token = await all.issuer.token({ exp: Math.floor(Date.now() / 1_000) + 3_600 })
    assert.equal(await order(one, token), 200)
    await shared(all)
    t.mock.timers.tick(LIFE * 1_000)
    const usual = all.issuer.answer
    all.issuer.answer = async (form, response) => {
      await all.redis.kill()
      while (!one.logged().includes('redis is gone')) await new Promise(setImmediate)
      all.issuer.answer = usual
      return usual(form, response)
    }
    assert.equal(await order(one, token), 200)
    t.mock.timers.tick(LIFE * 1_000)
    assert.equal(await order(one, token), 200)
    assert.deepEqual(all.tenant.asked(), ['exchange', 'refresh', 'refresh'])
    assertNoneTwice(all)
  },
)

test('a purge at one replica reaches a family at every other', { skip: NO_REDIS }, async (t) => {
  const all = await families(t)
  const [one, other] = [await all.replica(RENEW), await all.replica(RENEW)]
  const token = await all.issuer.token({ sub: 'alice' })
  assert.equal(await order(one, token), 200)
  await shared(all)
  await purge(one, { subject: 'alice' })
  while (((await all.redis.command('KEYS', 'behalf:mark:*')) as string[]).length === 0);
  assert.equal(await order(other, token), 200)
  assert.deepEqual(all.tenant.asked(), ['exchange', 'exchange'])
  assert.equal(counted(other, 'purged'), 1)
})

test(
  'a family that one replica has in hand while another’s subject is refused is not put back',
  { skip: NO_REDIS },
  async (t) => {
    const all = await families(t)
    const [one, other] = [await all.replica(SHARING), await all.replica(SHARING)]
    const [before, renewed, refused, after] = await Promise.all(
      Array.from({ length: 4 }, () => all.issuer.token({ sid: 'one' })),
    )
    assert.equal(await order(one, before!), 200)
    await shared(all)
    const usual = all.issuer.answer
    let finish = (): void => undefined
    const held = new Promise<void>((resolve) => (finish = resolve))
    const begun = new Promise<void>((resolve) => {
      all.issuer.answer = async (form, response) => {
        if (form.get('grant_type') === 'refresh_token') {
          resolve()
          await held
          return usual(form, response)
        }
        response.writeHead(400, { 'content-type': 'application/json' })
        response.end('{"error":"invalid_grant"}')
      }
    })
    const renewal = order(one, renewed!)
    await begun
    assert.equal(await order(other, refused!), 401)
    finish()
    assert.equal(await renewal, 200)
    all.issuer.answer = usual
    assert.equal(await order(other, after!), 200)
    assert.deepEqual(all.tenant.asked(), ['exchange', 'refresh', 'exchange', 'exchange'])
  },
)

type Spoil = (value: Buffer, all: { readonly another: Buffer; readonly entry: Buffer }) => Buffer
const SPOILT: readonly (readonly [string, string, Spoil])[] = [
  ['of another user', 'unreadable', (_value, { another }) => another],
  ['an entry’s', 'unreadable', (value, { entry }) => Buffer.concat([fence(value), entry])],
  ['truncated', 'unreadable', (value) => value.subarray(0, -1)],
  ['changed in a bit', 'unreadable', (value) => flipped(value, value.length - 20)],
  ['of another version', 'unreadable', (value) => flipped(value, fence(value).length)],
  ['nothing that was put there', 'unreadable', () => Buffer.from('something')],
  ['oversized', 'oversized', () => Buffer.alloc(70_000, 1)],
]

function fence(value: Buffer): Buffer {
  return value.subarray(0, value.indexOf(' ') + 1)
}

function flipped(value: Buffer, index: number): Buffer {
  const copy = Buffer.from(value)
  copy[index]! ^= 1
  return copy
}

for (const [what, outcome, spoil] of SPOILT) {
  test(
    `a family’s value that is ${what} is refused, counted and replaced`,
    { skip: NO_REDIS },
    async (t) => {
      const all = await families(t)
      const [one, other] = [await all.replica(RENEW), await all.replica(RENEW)]
      const [alice, bob] = [await all.issuer.token(), await all.issuer.token({ sub: 'bob' })]
      assert.equal(await order(one, alice), 200)
      const [name = ''] = await shared(all)
      const [entry = ''] = (await all.redis.command('KEYS', 'behalf:entry:*')) as string[]
      assert.equal(await order(one, bob), 200)
      const another = (await shared(all, 2)).find((each) => each !== name) ?? ''
      const [value, foreign, issued] = await Promise.all(
        [name, another, entry].map((each) => raw(all.redis, each)),
      )
      const spoilt = spoil(value!, { another: foreign!, entry: issued! })
      await all.redis.command('SET', name, spoilt, 'PX', '60000')
      await endIssued(all)
      assert.equal(await order(other, alice), 200)
      assert.equal(counted(other, outcome), 1)
      assert.deepEqual(all.tenant.asked(), ['exchange', 'exchange', 'exchange'])
      // What came in its place is good, and what was not touched is, too.
      await shared(all, 1)
      await endIssued(all)
      const third = await all.replica(RENEW)
      assert.deepEqual([await order(third, alice), await order(third, bob)], [200, 200])
      assert.deepEqual(all.tenant.asked().slice(3), ['refresh', 'refresh'])
      assertNoneTwice(all)
    },
  )
}

test(
  'Redis learns no refresh token, and forgets families after a day',
  { skip: NO_REDIS },
  async (t) => {
    const all = await families(t)
    const one = await all.replica(SHARING)
    assert.equal(await order(one, await all.issuer.token()), 200)
    const [name = ''] = await shared(all)
    const value = (await raw(all.redis, name)).toString('latin1')
    assert.equal(all.tenant.issued.length, 1)
    assert.equal(`${name}${value}${one.logged()}`.includes(all.tenant.issued[0]!), false)
    const left = (await all.redis.command('PTTL', name)) as number
    assert.ok(left > 0 && left <= 86_400_000)
  },
)

test(
  'a family goes with its subject token, so that the sealing key and what Redis holds open nothing',
  { skip: NO_REDIS },
  async (t) => {
    const all = await families(t)
    const token = await all.issuer.token()
    assert.equal(await order(await all.replica(RENEW), token), 200)
    const [name = ''] = await shared(all)
    const value = await raw(all.redis, name)
    const sealed = value.subarray(fence(value).length)
    const seals = createSeals([Buffer.from(SEALING_KEY, 'base64')])
    assert.equal(seals.open(name, sealed, ''), undefined)
    assert.equal(seals.open(name, sealed, token)?.includes(all.tenant.issued[0]!), true)
  },
)

test(
  'a refusal that Redis could not be told of it is told when it is back',
  { skip: NO_REDIS },
  async (t) => {
    const all = await families(t)
    const one = await all.replica({ ...RENEW, redis: { ...PATIENT, url: all.redis.url } })
    await all.redis.kill()
    all.tenant.refusing = () => ({ status: 400, error: 'invalid_grant' })
    assert.equal(await order(one, await all.issuer.token()), 401)
    await all.redis.start()
    const names = async (): Promise<string[]> =>
      (await all.redis.command('KEYS', 'behalf:family:*')) as string[]
    await until('the refusal is there', async () => (await names()).length > 0)
    for (const name of await names()) {
      // Nothing but the time of it.
      assert.match((await raw(all.redis, name)).toString('latin1'), /^\d{13} $/)
    }
  },
)

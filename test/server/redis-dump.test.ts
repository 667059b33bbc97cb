import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createSeals } from '../../src/store/seal.ts'
import { NO_REDIS, type RedisServer, startLine, startRedis, until } from '../redis.ts'
import { gatewaysAt, order, purge, raw, SEALING_KEY } from '../replicas.ts'
import type { Gateway, Received } from '../system.ts'

/** All that a server keeps, as it writes it to disk. */
async function dumpOf({ command }: RedisServer, folder: string): Promise<Buffer> {
  await command('CONFIG', 'SET', 'rdbcompression', 'no')
  await command('SAVE')
  return readFileSync(join(folder, 'dump.rdb'))
}

async function namesOf({ command }: RedisServer, pattern: string): Promise<readonly string[]> {
  return (await command('KEYS', pattern)) as string[]
}

interface Kept {
  readonly subjects: readonly string[]
  readonly issued: readonly string[]
  /** Of Redis, of what was ever sent to it, and of all logs. */
  readonly texts: Readonly<Record<string, string>>
  readonly values: readonly (readonly [name: string, value: Buffer])[]
}

/** Two replicas that served some users and forgot one. */
async function kept(t: TestContext, exchange: object, shared: object): Promise<Kept> {
  const folder = mkdtempSync(join(tmpdir(), 'behalf-dump-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const server = await startRedis(t, '--dir', folder)
  const line = await startLine(t, server)
  const all = await gatewaysAt(t, { url: line.url, ...shared })
  const gateways: Gateway[] = [await all.replica({ exchange }), await all.replica({ exchange })]
  const users = ['alice of the tests', 'bob of the tests', 'carol of the tests']
  const subjects = await Promise.all(users.map((sub) => all.issuer.token({ sub })))
  for (const gateway of gateways) {
    for (const token of subjects) assert.equal(await order(gateway, token), 200)
  }
  await purge(gateways[0]!, { subject: 'dave of the tests' })
  await until('all of it is there', async () => {
    const marks = await namesOf(server, 'behalf:mark:*')
    return marks.length > 0 && (await namesOf(server, 'behalf:entry:*')).length === users.length
  })
  const names = await namesOf(server, 'behalf:entry:*')
  return {
    subjects,
    issued: all.upstream.received.map(tokenOf),
    texts: {
      dump: (await dumpOf(server, folder)).toString('latin1'),
      sent: line.sent().toString('latin1'),
      logs: gateways.map((gateway) => gateway.logged()).join(''),
    },
    values: await Promise.all(names.map(async (name) => [name, await raw(server, name)] as const)),
  }
}

function tokenOf({ headers }: Received): string {
  return headers.authorization?.slice('Bearer '.length) ?? ''
}

test(
  'a dump of Redis, what it was ever sent, and all logs hold no token and name no user',
  { skip: NO_REDIS },
  async (t) => {
    const { subjects, issued, texts } = await kept(t, {}, {})
    assert.match(texts['dump']!, /behalf:entry:/)
    assert.match(texts['sent']!, /behalf:entry:/)
    assert.equal(issued.length, 6)
    for (const [where, text] of Object.entries(texts)) {
      for (const token of [...subjects, ...issued]) {
        for (const part of [token, ...token.split('.').slice(1)]) {
          assert.equal(text.includes(part), false, `${where} holds a part of a token`)
        }
      }
      assert.equal(text.includes(SEALING_KEY), false, `${where} holds the sealing key`)
    }
    for (const where of ['dump', 'sent']) assert.doesNotMatch(texts[where]!, /of the tests/)
  },
)

/** What may have been meant for a token: every word of the logs. */
function wordsOf(text: string): readonly string[] {
  return ['', ...new Set(text.split(/[\s"{}[\]:,]+/))]
}

test(
  'with `key: token` the dump, the logs and the sealing key together open nothing, and a token opens its own',
  { skip: NO_REDIS },
  async (t) => {
    const { subjects, issued, texts, values } = await kept(t, {}, {})
    const seals = createSeals([Buffer.from(SEALING_KEY, 'base64')])
    assert.equal(values.length, subjects.length)
    for (const [name, value] of values) {
      for (const word of wordsOf(texts['logs']!)) {
        assert.equal(seals.open(name, value, word), undefined)
      }
      const opened = subjects.map((token) => seals.open(name, value, token) ?? '')
      const [text = '', ...others] = opened.filter((one) => one !== '')
      assert.deepEqual(others, [])
      assert.ok(issued.some((token) => text.includes(token)))
    }
  },
)

test(
  'with `key: context` the sealing key opens what is shared, and nothing is where that is not said',
  { skip: NO_REDIS },
  async (t) => {
    const context = { key: 'context' }
    const { values, issued } = await kept(t, context, { shareContext: true })
    const seals = createSeals([Buffer.from(SEALING_KEY, 'base64')])
    for (const [name, value] of values) {
      const text = seals.open(name, value, '') ?? ''
      assert.ok(issued.some((token) => text.includes(token)))
    }
    const server = await startRedis(t)
    const all = await gatewaysAt(t, { url: server.url })
    const gateway = await all.replica({ exchange: context })
    assert.equal(await order(gateway, await all.issuer.token()), 200)
    await purge(gateway, { subject: 'dave' })
    // What came later is there, and would have come after it.
    await until('the purge is there', async () => (await namesOf(server, '*')).length > 0)
    assert.deepEqual(await namesOf(server, 'behalf:entry:*'), [])
  },
)

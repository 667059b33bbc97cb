import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allow, NO_REDIS, until } from '../redis.ts'
import { order, connectedWorld as world, type Changes, type World } from '../replicas.ts'
import { bearer, type Gateway } from '../system.ts'

const bounded = { skip: NO_REDIS, timeout: 60_000 }
/** So few that the machine may be as slow as it likes: none comes while a test runs. */
const SCARCE: Changes = { budget: { rate: 0.001, burst: 4 }, server: { replicas: 2 } }

async function users({ issuer }: World, many: number): Promise<string[]> {
  return Promise.all(Array.from({ length: many }, (_, at) => issuer.token({ sub: `user${at}` })))
}

async function answered(gateway: Gateway, token: string): Promise<[number, number]> {
  const response = await fetch(`${gateway.origin}/orders`, bearer(token))
  await response.arrayBuffer()
  return [response.status, Number(response.headers.get('retry-after'))]
}

function metric({ metrics }: Gateway, line: string): number {
  const found = metrics
    .render()
    .split('\n')
    .find((one) => one.startsWith(`${line} `))
  return Number(found?.slice(line.length + 1) ?? 0)
}

const turns = (gateway: Gateway, outcome: string): number =>
  metric(gateway, `behalf_issuer_turns_total{issuer="tenant",outcome="${outcome}"}`)
const isShared = (gateway: Gateway): number =>
  metric(gateway, 'behalf_issuer_budget_shared{issuer="tenant"}')

test('two replicas spend one budget', bounded, async (t) => {
  const one = await world(t)
  const [first, second] = [await one.replica(SCARCE), await one.replica(SCARCE)]
  const tokens = await users(one, 8)
  const answers = []
  for (const [at, token] of tokens.entries()) {
    answers.push(await answered(at % 2 === 0 ? first : second, token))
  }
  assert.deepEqual(answers, [
    ...[0, 0, 0, 0].map(() => [200, 0]),
    ...[60, 60, 60, 60].map((seconds) => [503, seconds]),
  ])
  assert.equal(one.issuer.exchanges.length, 4)
  assert.deepEqual([turns(first, 'leased'), turns(first, 'denied')], [2, 2])
  assert.deepEqual([turns(second, 'leased'), turns(second, 'denied')], [2, 2])
  assert.deepEqual([isShared(first), turns(first, 'own')], [1, 0])
})

test('a replica that ends leaves what it did not spend to the other', bounded, async (t) => {
  const one = await world(t)
  const [first, second] = [await one.replica(SCARCE), await one.replica(SCARCE)]
  const tokens = await users(one, 5)
  assert.equal(await order(first, tokens[0]!), 200)
  await first.close()
  const rest = []
  for (const token of tokens.slice(1)) rest.push(await order(second, token))
  assert.deepEqual(rest, [200, 200, 200, 503])
})

test(
  'what is found in Redis costs nothing of the budget, and asks for nothing',
  bounded,
  async (t) => {
    const one = await world(t)
    const [first, second] = [await one.replica(SCARCE), await one.replica(SCARCE)]
    const [token] = await users(one, 1)
    assert.equal(await order(first, token!), 200)
    const entries = async (): Promise<unknown> => one.redis.command('KEYS', 'behalf:entry:*')
    await until('the entry is there', async () => ((await entries()) as string[]).length === 1)
    for (let at = 0; at < 3; at++) assert.equal(await order(second, token!), 200)
    assert.deepEqual([turns(first, 'leased'), turns(second, 'leased')], [1, 0])
  },
)

test(
  'a 429 that one replica is answered stops the other, with a budget and without',
  bounded,
  async (t) => {
    for (const budget of [{ rate: 50, burst: 50 }, undefined]) {
      const one = await world(t)
      const changes: Changes = budget === undefined ? {} : { budget }
      const [first, second] = [await one.replica(changes), await one.replica(changes)]
      const [throttled, other, third] = await users(one, 3)
      assert.equal(await order(second, third!), 200)
      one.issuer.answer = (_form, response) => {
        response.writeHead(429, { 'retry-after': '40' }).end('{}')
      }
      assert.equal((await answered(first, throttled!))[0], 503)
      const before = one.issuer.exchanges.length
      // What the second one knows is good for a moment where there is no budget.
      await until('the other is told so', async () => (await answered(second, other!))[1] > 30)
      const sent = one.issuer.exchanges.length - before
      assert.ok(budget === undefined ? sent <= 1 : sent === 0, `${sent} were sent`)
    }
  },
)

test('without Redis each has its share: no less, and no more', bounded, async (t) => {
  const one = await world(t)
  const [first, second] = [await one.replica(SCARCE), await one.replica(SCARCE)]
  const tokens = await users(one, 8)
  // The share begins with nothing where the budget was shared before.
  assert.equal(await order(first, tokens[0]!), 200)
  await one.redis.kill()
  const statuses = []
  for (const token of tokens.slice(1, 4)) statuses.push(await order(first, token))
  assert.deepEqual(statuses, [503, 503, 503])
  assert.equal(isShared(first), 0)
  for (const token of tokens.slice(4)) statuses.push(await order(second, token))
  assert.deepEqual(statuses.slice(3), [200, 200, 503, 503], 'half of a burst of four')
  assert.equal(turns(second, 'own'), 2)
})

test('when Redis is back the budget is one again', bounded, async (t) => {
  const one = await world(t)
  const first = await one.replica(SCARCE)
  const [known, lost, ...others] = await users(one, 8)
  assert.equal(await order(first, known!), 200)
  await one.redis.kill()
  assert.equal(await order(first, lost!), 503)
  assert.equal(isShared(first), 0)
  await one.redis.start()
  // Whoever was back before its user was there was refused, this once.
  await allow(one.redis)
  await one.redis.command('ACL', 'LOG', 'RESET')
  const second = await one.replica(SCARCE)
  await until('the budget is shared', async () => {
    await order(first, lost!)
    return isShared(first) === 1
  })
  const before = one.issuer.exchanges.length
  for (const [at, token] of others.entries()) await order(at % 2 === 0 ? first : second, token)
  // Redis begins anew with a burst, one of which may have gone to who came before.
  const sent = one.issuer.exchanges.length - before
  assert.ok(sent === 3 || sent === 4, `${sent} were sent`)
})

import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { readConfig } from '../../src/config/load.ts'
import { processesOf } from '../../src/config/processes.ts'
import { gateway, serve, createLog } from '../../src/index.ts'
import { changed, faultsOf, told, valid } from './given.ts'

const AT = 'server.workers'

function serverOf(given: object, environment: Record<string, string> = {}): Config['server'] {
  return readConfig(changed({ ...given }), { environment }).server
}

test('one process serves unless more are asked for', () => {
  const { workers, replicas } = serverOf({})
  assert.deepEqual([workers, replicas], [1, 1])
})

test('each worker of each replica is a process', () => {
  const server = serverOf({ [AT]: 4, 'server.replicas': 3 })
  assert.deepEqual([server.workers, server.replicas, processesOf(server)], [4, 3, 12])
})

test('`auto` is one for each core', () => {
  const server = serverOf({ [AT]: 'auto', 'server.replicas': 2 })
  assert.equal(server.workers, availableParallelism())
  assert.equal(processesOf(server), 2 * availableParallelism())
})

for (const [text, expected] of [
  ['3', 3],
  ['auto', availableParallelism()],
] as const) {
  test(`the environment says ${text}`, () => {
    assert.equal(serverOf({}, { BEHALF_SERVER__WORKERS: text }).workers, expected)
  })
}

for (const wrong of ['many', 1.5, [2], true]) {
  test(`${JSON.stringify(wrong)} is no number of workers`, () => {
    const message = `${AT}: must be a whole number up to 256, or \`auto\``
    assert.deepEqual(told(faultsOf(changed({ [AT]: wrong }))), [message])
  })
}

for (const [wrong, message] of [
  [0, 'must be at least 1'],
  [257, 'must be at most 256'],
] as const) {
  test(`${wrong} workers are ${wrong === 0 ? 'too few' : 'too many'}`, () => {
    assert.deepEqual(told(faultsOf(changed({ [AT]: wrong }))), [`${AT}: ${message}`])
  })
}

test('workers know each other’s proofs, as replicas do not', () => {
  const dpop = (workers: number, replicas: number): Readonly<Record<string, unknown>> => ({
    'apis.storefront.proofOfPossession': { mechanism: 'dpop' },
    ...{ [AT]: workers, 'server.replicas': replicas },
  })
  assert.deepEqual(faultsOf(changed(dpop(2, 1))), [])
  const [fault, ...others] = faultsOf(changed(dpop(2, 2)))
  assert.match(fault?.message ?? '', /needs `cache.redis`, or `replay: local`/)
  assert.deepEqual(others, [])
})

test('workers do not know each other’s nonces, unless they are made of one secret', () => {
  const dpop = (workers: number, more: object): Readonly<Record<string, unknown>> => ({
    'apis.storefront.proofOfPossession': { mechanism: 'dpop', nonce: 'required', ...more },
    [AT]: workers,
  })
  const [fault, ...others] = faultsOf(changed(dpop(2, {})))
  assert.match(fault?.message ?? '', /needs `nonceSecret`, or `cache.redis`/)
  assert.deepEqual(others, [])
  assert.deepEqual(faultsOf(changed(dpop(1, {}))), [])
  const nonceSecret = 'Vq3_a-secret-of-nonces-for-tests-0xA91'
  assert.deepEqual(faultsOf(changed(dpop(2, { nonceSecret }))), [])
})

test('a configuration reaches workers as it is: a copy that keeps what is one', () => {
  const rich = changed({
    'routes[0].authorize': {
      ...{ scopes: ['read:orders'], clients: ['spa'], maxAge: '1h' },
      claims: [{ claim: ['realm_access', 'roles'], oneOf: ['a', 'b'] }],
    },
    'routes[0].proxy.headers': {
      set: { 'x-user': '{claims.sub}' },
      response: { remove: ['server'] },
    },
    'apis.storefront.proofOfPossession': { mechanism: 'dpop', nonce: 'required' },
    'server.limits': { loopDelay: '1s' },
  })
  for (const input of [valid(), rich]) {
    const config = readConfig(input, { environment: {} })
    const copy = structuredClone(config)
    assert.deepEqual(copy, config)
    assert.equal(copy.routes[0]?.authenticate.apis[0], copy.apis[0])
    assert.equal(copy.apis[0]?.issuer, copy.issuers[0])
  }
})

test('a gateway in a process of somebody’s has no workers, and says so', async () => {
  const config = readConfig(changed({ [AT]: 2 }), { environment: {} })
  const refusal = { code: 'invalid_configuration', message: /server\.workers: is for the command/ }
  await assert.rejects(serve(config, { log: createLog({ level: 'silent' }) }), refusal)
  await assert.rejects(gateway(changed({ [AT]: 2 }) as Parameters<typeof gateway>[0]), refusal)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { ConfigError } from '../../src/config/faults.ts'
import { readConfig } from '../../src/config/load.ts'
import { oneRoute } from '../system.ts'

function read(limits: object, server: object = {}): Config {
  const setting = { issuer: 'http://127.0.0.1:1/', upstream: 'http://127.0.0.1:9001' }
  return readConfig({ ...oneRoute({ ...setting, proxy: { limits } }), server })
}

function faults(limits: object, server: object = {}): readonly string[] {
  try {
    read(limits, server)
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.faults.map(({ path, message }) => `${path}: ${message}`)
  }
}

test('a route says how much of a request it takes', () => {
  const limits = { body: '1MiB', headers: '8KiB', headerCount: 50, idle: '5s', total: '1m' }
  const { body, headers, headerCount, idleMs, totalMs } = read(limits).routes[0]!.proxy.limits
  assert.deepEqual(
    [body, headers, headerCount, idleMs, totalMs],
    [1_048_576, 8_192, 50, 5_000, 60_000],
  )
})

test('a limit that nothing could stay below, or that Node would not see, is refused', () => {
  for (const limits of [
    { headers: '512' },
    { headers: '17KiB' },
    { inFlight: 0 },
    { headerCount: 0 },
    { headerCount: 501 },
    { idle: '0s' },
    { total: '0s' },
    { body: -1 },
    { size: '1MiB' },
  ]) {
    assert.equal(faults(limits).length, 1, JSON.stringify(limits))
  }
  assert.deepEqual(faults({ headers: '1KiB', headerCount: 500, body: 0 }), [])
})

test('a rate has a burst of one second unless it says another, and each kind of caller one rate', () => {
  const by = (by: string, rate: number, burst?: number): object => ({
    ...{ by, rate },
    ...(burst !== undefined && { burst }),
  })
  const rates = [by('subject', 0.5), by('client', 2.5), by('address', 10, 50)]
  assert.deepEqual(read({ rates }).routes[0]!.proxy.limits.rates, [
    { by: 'subject', rate: 0.5, burst: 1 },
    { by: 'client', rate: 2.5, burst: 3 },
    { by: 'address', rate: 10, burst: 50 },
  ])
  assert.deepEqual(faults({ rates: [by('subject', 1), by('client', 1), by('subject', 2)] }), [
    'routes[0].proxy.limits.rates[2].by: repeats limits.rates[0]',
  ])
  for (const rate of [by('user', 1), by('subject', 0), by('subject', 1, 0)]) {
    assert.equal(faults({ rates: [rate] }).length, 1, JSON.stringify(rate))
  }
})

test('a process says how much it takes', () => {
  const limits = { connections: 100, inFlight: 50, pipelined: 8, loopDelay: '200ms' }
  assert.deepEqual(read({}, { limits }).server.limits, {
    ...{ connections: 100, inFlight: 50, pipelined: 8, loopDelayMs: 200 },
  })
  assert.deepEqual(faults({}, { limits: { ...limits, connections: 0 } }).length, 1)
})

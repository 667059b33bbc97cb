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

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAllowedHost } from '../../src/server/allowed-hosts.ts'

const LISTED = { allowedHosts: ['gateway.internal', '*.gateways.svc'] }
const ADMIN = { listen: { host: 'Admin.Example', port: 8081 }, ...LISTED }

function asked(host: string | undefined, url = '/metrics'): boolean {
  return isAllowedHost({ url, headers: { host } }, ADMIN)
}

for (const host of [
  ...['127.0.0.1', '127.0.0.1:8081', '10.244.3.17:8081', '[::1]', '[::1]:8081', '[fd00::17]:1'],
  ...['localhost', 'localhost:8081', 'LocalHost:80', 'localhost.', 'localhost.:8081'],
  ...['admin.example', 'admin.example:8081', 'ADMIN.EXAMPLE:9'],
  ...['gateway.internal', 'Gateway.Internal:8081', 'gateway.internal.:8081'],
  ...['a.gateways.svc', 'b-2.GATEWAYS.svc:8081'],
]) {
  test(`who asks by ${host} is answered`, () => {
    assert.equal(asked(host), true)
  })
}

for (const host of [
  ...['evil.example', 'evil.example:8081', '127.0.0.1.evil.example', 'evil.example:127.0.0.1'],
  ...['localhost.evil.example', 'evil.localhost.example', 'localhosts', 'my.localhost', '.'],
  ...['admin.example.evil.example', 'evil.admin.example', 'gateway.internal.evil.example'],
  ...['gateways.svc', 'a.b.gateways.svc', '.gateways.svc', 'evilgateways.svc', '*'],
  // No address in the form that browsers write, and so a name that somebody may own.
  ...['127.1', '0x7f.0.0.1', '2130706433', '::1', '[evil.example]', '[127.0.0.1]', '[::1'],
  ...['', ':8081', 'localhost..', 'user@localhost', 'localhost:8081:1', 'localhost, evil.example'],
]) {
  test(`who asks by ‘${host}’ is not`, () => {
    assert.equal(asked(host), false)
  })
}

test('who names no host is no browser, and is answered', () => {
  assert.equal(asked(undefined), true)
})

test('a target in absolute form comes before the Host header (RFC 9112, section 3.2.2)', () => {
  assert.equal(asked('localhost', 'http://localhost:8081/metrics'), true)
  assert.equal(asked('evil.example', 'HTTP://127.0.0.1/metrics'), true)
  assert.equal(asked('localhost', 'http://evil.example/metrics'), false)
  assert.equal(asked('localhost', 'http://localhost@evil.example/metrics'), false)
  assert.equal(asked('localhost', 'ftp://localhost/metrics'), false)
  assert.equal(asked(undefined, 'http://evil.example/metrics'), false)
})

test('the listener on an address is asked by no name but what is listed', () => {
  const listen = { host: '0.0.0.0', port: 8081 }
  const by = (host: string, allowedHosts: readonly string[]): boolean =>
    isAllowedHost({ url: '/', headers: { host } }, { listen, allowedHosts })
  assert.equal(by('admin.example', []), false)
  assert.equal(by('admin.example', ['admin.example']), true)
})

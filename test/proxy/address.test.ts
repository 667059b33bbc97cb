import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { createAddressOf } from '../../src/proxy/address.ts'

function of(trusted: readonly string[], peer: string, told?: string): string {
  const headers = told === undefined ? {} : { 'x-forwarded-for': told }
  return createAddressOf(trusted)({ socket: { remoteAddress: peer }, headers } as IncomingMessage)
}

const PROXIES = ['10.0.0.0/8', 'fd00::/8']

for (const [what, peer, told, address] of [
  ['a peer that nobody trusts', '192.0.2.1', '203.0.113.9', '192.0.2.1'],
  ['a trusted peer that tells nothing', '10.0.0.1', undefined, '10.0.0.1'],
  ['a trusted peer', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
  ['a trusted peer in the clothes of IPv6', '::ffff:10.0.0.1', '203.0.113.9', '203.0.113.9'],
  ['several trusted peers', '10.0.0.1', '203.0.113.9, 10.0.0.3, fd00::2', '203.0.113.9'],
  ['what a caller wrote before a proxy did', '10.0.0.1', '1.1.1.1, 203.0.113.9', '203.0.113.9'],
  ['trusted peers alone', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
  ['nonsense of a trusted peer', '10.0.0.1', '203.0.113.9, unknown', '10.0.0.1'],
  ['an empty element', '10.0.0.1', '203.0.113.9,', '10.0.0.1'],
  ['an address with a port', '10.0.0.1', '203.0.113.9:4711', '203.0.113.9'],
  ['an address of IPv6 with a port', '10.0.0.1', '[2001:db8::9]:4711', '2001:db8:0:0::/64'],
] as const) {
  test(`the address of ${what} is ${address}`, () => {
    assert.equal(of(PROXIES, peer, told), address)
  })
}

test('addresses of one IPv6 network are one, however they are written, and those of another are not', () => {
  const one = of([], '2001:db8:1:2::1')
  for (const same of [
    '2001:db8:1:2:ffff:ffff:ffff:ffff',
    '2001:0DB8:0001:0002::',
    '2001:db8:1:2::1%eth0',
  ]) {
    assert.equal(of([], same), one)
  }
  assert.notEqual(of([], '2001:db8:1:3::1'), one)
  assert.equal(of([], '::1'), '0:0:0:0::/64')
})

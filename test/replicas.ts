/** Gateways that share a redis-server, an issuer and an upstream. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { startIssuer, type TestIssuer } from './issuer.ts'
import { asUser, type RedisServer, startRedis, until } from './redis.ts'
import {
  bearer,
  type Gateway,
  oneRoute,
  type Scope,
  startGateway,
  startUpstream,
  type Upstream,
} from './system.ts'

export const SEALING_KEY = randomBytes(32).toString('base64')
const ADMIN_TOKEN = 'an admin token of a length that will do'
/** What is late is not what these tests are about, but for those that say so: their machine is shared. */
const PATIENT = { timeout: '1s' }

/** As gateways of tests listen. */
const LISTENING = { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1s' } }

export interface World extends Gateways {
  readonly redis: RedisServer
}

export interface Gateways {
  readonly issuer: TestIssuer
  readonly upstream: Upstream & { answer?: Parameters<typeof startUpstream>[1] }
  replica(changes?: Changes): Promise<Gateway>
}

export interface Changes {
  readonly redis?: object
  readonly exchange?: object
  readonly client?: object
  readonly api?: object
  readonly server?: object
  readonly endpoints?: object
  /** Of the issuer. */
  readonly budget?: object
}

export async function world(t: Scope, ...options: string[]): Promise<World> {
  const redis = await startRedis(t, ...options)
  const url = await asUser(redis)
  return { redis, ...(await gatewaysAt(t, { url })) }
}

/** Where every replica has Redis from its first request on. */
export async function connectedWorld(t: Scope, ...options: string[]): Promise<World> {
  const all = await world(t, ...options)
  return { ...all, replica: (changes) => connected(all.replica(changes)) }
}

/** @param where what the configuration says of Redis, but for the sealing key */
export async function gatewaysAt(t: Scope, where: object): Promise<Gateways> {
  const issuer = await startIssuer(t)
  const upstream: Gateways['upstream'] = await startUpstream(t, (received, response) =>
    upstream.answer === undefined ? response.end('{}') : upstream.answer(received, response),
  )
  const replica = ({
    redis: settings,
    server,
    endpoints,
    budget,
    ...changes
  }: Changes = {}): Promise<Gateway> =>
    startGateway(t, {
      ...oneRoute({ issuer: issuer.url, upstream: upstream.origin, ...changes }),
      issuers: { tenant: { issuer: issuer.url, profile: 'rfc8693', ...(budget && { budget }) } },
      server: { ...LISTENING, ...server },
      ...(endpoints && { endpoints }),
      admin: { listen: '127.0.0.1:0', token: ADMIN_TOKEN },
      cache: { redis: { ...where, sealingKeys: [SEALING_KEY], ...PATIENT, ...settings } },
    })
  return { issuer, upstream, replica }
}

/** Whether Redis answers it. */
export function isUp({ metrics }: Gateway): boolean {
  return metrics.render().includes('\nbehalf_redis_up 1\n')
}

/** A replica that has Redis from its first request on: on a busy machine that may take longer than a start waits for it. */
export async function connected(starting: Promise<Gateway>): Promise<Gateway> {
  const gateway = await starting
  await until('Redis is there', () => isUp(gateway))
  return gateway
}

export async function order(gateway: Gateway, token: string): Promise<number> {
  const response = await fetch(`${gateway.origin}/orders`, bearer(token))
  await response.arrayBuffer()
  return response.status
}

export async function purge(gateway: Gateway, what: object): Promise<void> {
  const { status } = await fetch(`${gateway.adminOrigin}/purge`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(what),
  })
  assert.equal(status, 204)
}

export function counted(gateway: Gateway, outcome: string): number {
  const line = `behalf_cache_total{level="redis",outcome="${outcome}"} `
  const found = gateway.metrics
    .render()
    .split('\n')
    .find((one) => one.startsWith(line))
  return Number(found?.slice(line.length) ?? 0)
}

/** That a token which one replica exchanges is found by another, at last. No request fails on the way. */
export async function sharing({ issuer }: Gateways, one: Gateway, other: Gateway): Promise<void> {
  let tries = 0
  await until('a replica finds what another exchanged', async () => {
    const token = await issuer.token({ sub: `sharing ${tries++}` })
    const before = counted(other, 'hit')
    assert.equal(await order(one, token), 200)
    assert.equal(await order(other, token), 200)
    return counted(other, 'hit') > before
  })
}

/** What one replica sends is there a little later. */
export async function entries({ redis }: World, least = 1): Promise<string[]> {
  let names: string[] = []
  await until(`${least} entries`, async () => {
    names = (await redis.command('KEYS', 'behalf:entry:*')) as string[]
    return names.length >= least
  })
  return names
}

/** Waits until what stands there is no longer this. */
export function replaced(redis: RedisServer, name: string, value: Buffer): Promise<void> {
  return until(`${name} is replaced`, async () => !(await raw(redis, name)).equals(value))
}

/** As bytes: the client of the tests reads strings. */
export async function raw({ command }: RedisServer, name: string): Promise<Buffer> {
  const script = `return (redis.call('GET', KEYS[1]):gsub('.', function(c) return string.format('%02x', c:byte()) end))`
  return Buffer.from((await command('EVAL', script, '1', name)) as string, 'hex')
}

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { call, HEADER, purge, rotatingWorld, type Session, type World } from './rotating.ts'

const held = ({ accessToken }: Session, refreshToken: string | null): Session => ({
  accessToken,
  refreshToken: refreshToken ?? '',
})

/** Whatever reached upstreams, logs and metrics: no refresh token is in it. */
async function assertContained(
  { gateway, upstream }: World,
  tokens: readonly (string | null)[],
): Promise<void> {
  const metrics = await (await fetch(`${gateway.adminOrigin}/metrics`)).text()
  const seen = JSON.stringify(upstream.received) + gateway.logged() + metrics
  for (const token of tokens) {
    assert.ok(token !== null && token !== '')
    assert.equal(seen.includes(token), false, 'a refresh token is where it should not be')
  }
}

test('a caller’s refresh token becomes a token for the target, and the caller is told what replaced it', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()

  const first = await call(world, '/orders', alice)

  assert.equal(first.status, 200)
  const { sub, aud, scope, azp } = first.body
  assert.deepEqual(
    { sub, aud, scope, azp },
    { sub: 'auth0|alice', aud: 'https://orders.internal', scope: 'orders:read', azp: 'web' },
  )
  assert.notEqual(first.successor, null)
  assert.notEqual(first.successor, alice.refreshToken)
  assert.equal(first.cacheControl, 'no-store')
  await assertContained(world, [alice.refreshToken, first.successor])
})

test('two routes one after the other cost two refreshes, and no family', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()

  const orders = await call(world, '/orders', alice)
  const inventory = await call(world, '/inventory', held(alice, orders.successor))
  const again = await call(world, '/orders', held(alice, inventory.successor))

  assert.deepEqual([orders.status, inventory.status, again.status], [200, 200, 200])
  assert.equal(inventory.body['aud'], 'https://inventory.internal')
  assert.equal(world.refreshes(), 2)
  // What the caller holds now is good: nothing of its family was revoked.
  const { tenant } = world
  const after = await fetch(`${tenant.url}oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      ...{ grant_type: 'refresh_token', client_id: 'web' },
      client_secret: 'the-secret-of-the-web-client-0001',
      refresh_token: inventory.successor ?? '',
    }),
  })
  assert.equal(after.status, 200)
})

test('a caller that never looks at what replaced its token is told each time, and loses nothing', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()

  const first = await call(world, '/orders', alice)
  const hit = await call(world, '/orders', alice)
  const other = await call(world, '/inventory', alice)
  const last = await call(world, '/orders', alice)

  assert.deepEqual([first.status, hit.status, other.status, last.status], [200, 200, 200, 200])
  assert.equal(hit.successor, first.successor)
  assert.notEqual(other.successor, first.successor)
  assert.equal(last.successor, other.successor)
  assert.equal(world.refreshes(), 2)
})

test('twenty callers at once, on two routes, with one refresh token: two refreshes, and all are told the last', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()
  world.tenant.fault({ kind: 'slow', delayMs: 100, grantType: 'refresh_token', times: 2 })

  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      call(world, index % 2 === 0 ? '/orders' : '/inventory', alice),
    ),
  )

  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(world.refreshes(), 2)
  const { successor } = await call(world, '/orders', alice)
  assert.ok(answers.some((one) => one.successor === successor))
  assert.equal((await call(world, '/inventory', held(alice, successor))).status, 200)
})

test('a request without a refresh token is the caller’s fault, and no fault of its access token', async (t) => {
  const world = await rotatingWorld(t)
  const { accessToken } = await world.login()

  const answer = await call(world, '/orders', { accessToken })

  assert.deepEqual([answer.status, answer.code], [400, 'invalid_request'])
  assert.equal(world.refreshes(), 0)
})

test('a refresh token that the issuer does not know is refused, once for the issuer', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()
  const guessed = held(alice, 'v1.nothing-that-was-ever-issued')

  const first = await call(world, '/orders', guessed)
  const second = await call(world, '/orders', guessed)
  const good = await call(world, '/orders', alice)

  assert.deepEqual([first.status, first.code], [401, 'invalid_token'])
  assert.deepEqual([second.status, second.code], [401, 'invalid_token'])
  assert.equal(first.successor, null)
  // The refusal is of that refresh token, and of no other of the same access token's.
  assert.equal(good.status, 200)
  assert.equal(world.refreshes(), 2)
})

test('another user’s refresh token brings nothing, and does not cost its owner the family', async (t) => {
  const world = await rotatingWorld(t)
  const [alice, bob] = [await world.login(), await world.login('carol')]

  const stolen = await call(world, '/orders', held(bob, alice.refreshToken))
  const owner = await call(world, '/orders', alice)
  const again = await call(world, '/orders', held(bob, alice.refreshToken))
  const other = await call(world, '/inventory', held(bob, alice.refreshToken))
  const own = await call(world, '/orders', bob)

  for (const answer of [stolen, again, other]) {
    assert.deepEqual([answer.status, answer.code], [403, 'not_permitted'])
    assert.equal(answer.successor, null)
  }
  assert.deepEqual([owner.status, owner.body['sub']], [200, 'auth0|alice'])
  assert.notEqual(owner.successor, null)
  assert.deepEqual([own.status, own.body['sub']], [200, 'auth0|carol'])
  assert.equal(world.upstream.received.length, 2)
  // Once it is known whose it is, nobody else has it sent.
  assert.equal(world.refreshes(), 3)
})

test('a family that was revoked is an invalid token, and nobody is told of what is dead', async (t) => {
  const world = await rotatingWorld(t, { exchange: { maxAge: '1s' } })
  const alice = await world.login()
  const { successor } = await call(world, '/orders', alice)
  // Somebody else presents the spent one.
  await fetch(`${world.tenant.url}oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      ...{ grant_type: 'refresh_token', client_id: 'web' },
      client_secret: 'the-secret-of-the-web-client-0001',
      refresh_token: alice.refreshToken,
    }),
  })

  const after = await call(world, '/inventory', held(alice, successor))
  const old = await call(world, '/inventory', alice)

  assert.deepEqual([after.status, after.code, after.successor], [401, 'invalid_token', null])
  assert.deepEqual([old.status, old.successor], [401, null])
})

test('a caller that leaves after its refresh was sent finds what replaced its token', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()
  world.tenant.fault({ kind: 'slow', delayMs: 1_000, grantType: 'refresh_token', times: 1 })

  const controller = new AbortController()
  const gone = call(world, '/orders', alice, { signal: controller.signal })
  gone.catch(() => undefined)
  while (world.refreshes() === 0) await sleep(5)
  controller.abort()
  await assert.rejects(gone)
  const next = await call(world, '/orders', alice)
  const other = await call(world, '/inventory', held(alice, next.successor))

  assert.deepEqual([next.status, other.status], [200, 200])
  assert.notEqual(next.successor, null)
})

test('a refresh that takes longer than anybody waits is not lost, and not sent again', async (t) => {
  const world = await rotatingWorld(t, { exchange: { timeout: '200ms' } })
  const alice = await world.login()
  world.tenant.fault({ kind: 'slow', delayMs: 3_000, grantType: 'refresh_token', times: 1 })

  const late = await call(world, '/orders', alice)
  const waiting = await call(world, '/inventory', alice)
  assert.deepEqual([late.status, late.code], [503, 'exchange_unavailable'])
  assert.deepEqual([waiting.status, waiting.code], [503, 'exchange_unavailable'])
  assert.equal(world.refreshes(), 1)
  let after = late
  while (after.status === 503) after = await call(world, '/orders', alice)

  // One that was sent again would have cost the family. A slow machine may need more than one refresh to be in time.
  assert.equal(after.status, 200)
  assert.ok(world.refreshes() >= 2)
  assert.notEqual(after.successor, null)
  assert.equal((await call(world, '/orders', held(alice, after.successor))).status, 200)
})

test('our own error after a refresh still tells what replaced the token', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()
  world.tenant.fault({ kind: 'wrong_aud', grantType: 'refresh_token', times: 1 })

  const failed = await call(world, '/orders', alice)

  assert.deepEqual([failed.status, failed.code], [502, 'exchange_misconfigured'])
  assert.notEqual(failed.successor, null)
  assert.equal(failed.cacheControl, 'no-store')
  assert.equal((await call(world, '/inventory', held(alice, failed.successor))).status, 200)
  await assertContained(world, [alice.refreshToken, failed.successor])
})

test('an upstream’s error tells it, too, and the upstream has no say in it', async (t) => {
  const world = await rotatingWorld(t, {
    answer: (_received, response) => {
      response.writeHead(503, {
        [HEADER]: 'of-the-upstream',
        'cache-control': 'public, max-age=600',
        'cdn-cache-control': 'max-age=600',
        'x-kept': 'yes',
      })
      response.end()
    },
  })
  const alice = await world.login()
  const response = await fetch(`${world.gateway.origin}/orders`, {
    headers: { authorization: `Bearer ${alice.accessToken}`, [HEADER]: alice.refreshToken },
  })

  assert.equal(response.status, 503)
  const successor = response.headers.get(HEADER)
  assert.ok(successor !== null && successor.startsWith('v1.') && !successor.includes(','))
  assert.equal(response.headers.get('cache-control'), 'no-store')
  assert.equal(response.headers.get('cdn-cache-control'), null)
  assert.equal(response.headers.get('x-kept'), 'yes')
})

test('an upstream that cannot be reached does not cost the caller its token', async (t) => {
  const world = await rotatingWorld(t, {
    answer: (_received, response) => void response.destroy(),
  })
  const alice = await world.login()

  const failed = await call(world, '/orders', alice)

  assert.deepEqual([failed.status, failed.code], [502, 'upstream_unavailable'])
  assert.notEqual(failed.successor, null)
})

test('the header reaches no upstream, of no route, in no spelling', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()
  const headers = { authorization: `Bearer ${alice.accessToken}` }

  await call(world, '/public', alice)
  await fetch(`${world.gateway.origin}/public`, {
    headers: { ...headers, X_Refresh_Token: 'underscored', 'x-refresh.token': 'dotted' },
  })
  await call(world, '/orders', alice)

  const [first, second, third] = world.upstream.received.map(({ rawHeaders }) =>
    rawHeaders.join('\n').toLowerCase(),
  )
  for (const seen of [first, second, third]) assert.doesNotMatch(seen ?? '', /refresh/)
  assert.equal(world.upstream.received.length, 3)
})

test('two refresh tokens in one request are none', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()
  const { status, code } = await new Promise<{ status: number; code: unknown }>((resolve) => {
    void import('node:http').then(({ default: http }) => {
      const request = http.get(
        `${world.gateway.origin}/orders`,
        {
          headers: {
            authorization: `Bearer ${alice.accessToken}`,
            [HEADER]: [alice.refreshToken, 'another'],
          },
        },
        (response) => {
          let text = ''
          response.on('data', (chunk) => (text += String(chunk)))
          response.on('end', () => {
            const { code } = JSON.parse(text) as { code: unknown }
            resolve({ status: response.statusCode ?? 0, code })
          })
        },
      )
      request.on('error', () => resolve({ status: 0, code: undefined }))
    })
  })

  assert.deepEqual([status, code], [400, 'invalid_request'])
  assert.equal(world.refreshes(), 0)
})

test('a purge forgets what was issued, and what replaced the token: the caller’s own is good', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()
  const first = await call(world, '/orders', alice)

  await purge(world, 'auth0|alice')
  const after = await call(world, '/orders', held(alice, first.successor))

  assert.equal(after.status, 200)
  assert.equal(world.refreshes(), 2)
  assert.notEqual(after.successor, first.successor)
})

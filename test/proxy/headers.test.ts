import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ask, startProxy, startRecorder, token, type StartOptions } from './upstream.ts'
import type { TestContext } from 'node:test'

const OWN = {
  authorization: ['Bearer issued'],
  via: ['1.1 behalf'],
  'x-request-id': ['id-1'],
  'x-forwarded-for': ['127.0.0.1'],
  'x-forwarded-proto': ['http'],
  'x-forwarded-host': ['gateway.example'],
  forwarded: ['for=127.0.0.1;host=gateway.example;proto=http'],
} as const

/** What the upstream received, as names to values. */
async function received(
  t: TestContext,
  lines: readonly string[],
  options: StartOptions = {},
): Promise<Record<string, string[]>> {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url, options)
  const head = ['GET /orders HTTP/1.1', 'Host: gateway.example', ...lines].join('\r\n')
  assert.match(await ask(t, port, `${head}\r\n\r\n`), /^HTTP\/1\.1 200 /)
  assert.equal(upstream.requests.length, 1)
  const headers: Record<string, string[]> = Object.create(null)
  for (const [name, value] of upstream.requests[0]!.headers) (headers[name] ??= []).push(value)
  // undici's own: the upstream's name, and our connection to it.
  assert.equal(headers['host']?.length, 1)
  assert.notEqual(headers['host'][0], 'gateway.example')
  assert.deepEqual(headers['connection'], ['keep-alive'])
  delete headers['host']
  delete headers['connection']
  return { ...headers }
}

test('a request arrives with our headers, and nothing else that the caller did not send', async (t) => {
  assert.deepEqual(await received(t, []), OWN)
})

test('ordinary headers pass in order, duplicates and spelling included', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url)
  const lines = ['Accept: a', 'X-B: 1', 'x-b: 2', 'traceparent: t', 'tracestate: s', 'baggage: b']
  const caf = 'X-Latin: caf\xe9'
  await ask(
    t,
    port,
    `GET / HTTP/1.1\r\n${[...lines, caf].join('\r\n')}\r\nHost: gateway.example\r\n\r\n`,
  )
  assert.ok(upstream.raw().includes(`${[...lines, caf].join('\r\n')}\r\nauthorization: `))
})

test('hop-by-hop headers stay here', async (t) => {
  const lines = [
    'Proxy-Connection: x',
    'Keep-Alive: timeout=5',
    'TE: trailers',
    'Trailer: X-T',
    'Upgrade: h2c',
    'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA',
    'Proxy-Authorization: Basic eA==',
    'Proxy-Authenticate: Basic',
  ]
  assert.deepEqual(await received(t, lines), OWN)
})

test('what Connection names stays here, and it cannot name away what is ours', async (t) => {
  const names = [...Object.keys(OWN), 'host', 'content-length', 'transfer-encoding', 'connection']
  const lines = [
    `Connection: X-Private, close, ${names.join(' ,')}`,
    'Connection: x-other',
    'x-private: 1',
    'X-Other: 1',
    'X-Kept: 1',
    'Via: 1.1 front',
  ]
  assert.deepEqual(await received(t, lines), { ...OWN, 'x-kept': ['1'] })
})

const OWNED = [
  'Authorization',
  'DPoP',
  'Client-Cert',
  'Client-Cert-Chain',
  'X-Forwarded-Client-Cert',
  'Forwarded',
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'X-Forwarded-Prefix',
  'X-Forwarded-Uri',
  'X-Real-IP',
  'X-Behalf-Subject',
  'X-Request-Id',
  'X-HTTP-Method-Override',
  'X-HTTP-Method',
  'X-Method-Override',
]

for (const name of OWNED) {
  test(`${name} is ours to say, however the caller spells it`, async (t) => {
    const spellings = [
      name,
      name.toLowerCase(),
      name.toUpperCase(),
      name.replaceAll('-', '_'),
      name.replace('-', '_').toLowerCase(),
      name.replaceAll('-', '.'),
      name.replaceAll('-', '~'),
    ]
    const lines = spellings.flatMap((spelling) => [`${spelling}: spoofed`, `${spelling}: twice`])
    assert.deepEqual(await received(t, [`Connection: ${name}`, ...lines]), OWN)
    // The twin differs in the name alone.
    const twin = `${name}-X`.replace(/^(?:X-(?:Forwarded|Behalf|HTTP)|Client-Cert)/i, 'Z-$&')
    assert.deepEqual(await received(t, [`${twin}: harmless`]), {
      ...OWN,
      [twin.toLowerCase()]: ['harmless'],
    })
  })
}

test('no spelling of an owned name gets through', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url)
  const spelled = fc
    .constantFrom(...OWNED, 'Proxy-Authorization', 'Keep-Alive', 'Transfer-Encoding')
    .filter((name) => name.includes('-'))
    .chain((name) =>
      fc
        .array(fc.tuple(fc.boolean(), fc.constantFrom('-', '_', '.', '~', '!')), {
          minLength: name.length,
          maxLength: name.length,
        })
        .map((choices) =>
          name
            .split('')
            .map((letter, index) => {
              const [upper, other] = choices[index]!
              return letter === '-' ? other : upper ? letter.toUpperCase() : letter.toLowerCase()
            })
            .join(''),
        ),
    )
    .filter((name) => name.toLowerCase() !== 'transfer-encoding')
  await fc.assert(
    fc.asyncProperty(spelled, async (name) => {
      const before = upstream.requests.length
      const text = `GET / HTTP/1.1\r\nHost: h\r\n${name}: spoofed-value\r\n\r\n`
      assert.match(await ask(t, port, text), /^HTTP\/1\.1 200 /)
      assert.equal(upstream.requests.length, before + 1)
      assert.ok(!upstream.raw().includes('spoofed-value'), name)
    }),
    { numRuns: 60 },
  )
})

test('a token of scheme none sends no credentials at all', async (t) => {
  const headers = await received(t, ['Authorization: Bearer mine'], { token: token('', 'none') })
  const { authorization: _, ...others } = OWN
  assert.deepEqual(headers, others)
})

test('cookies stay here unless the route keeps them', async (t) => {
  assert.deepEqual(await received(t, ['Cookie: a=1']), OWN)
  assert.deepEqual(await received(t, ['Cookie: a=1'], { proxy: { cookies: 'keep' } }), {
    ...OWN,
    cookie: ['a=1'],
  })
})

test('Via is added to the list of those before', async (t) => {
  const { via } = await received(t, ['Via: 1.0 a, 1.1 b', 'Via: 1.1 c'])
  assert.deepEqual(via, ['1.0 a, 1.1 b', '1.1 c', '1.1 behalf'])
})

const TOLD = [
  'X-Forwarded-For: 203.0.113.7',
  'X-Forwarded-For: 198.51.100.1',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Host: public.example',
  'X-Forwarded-Port: 443',
  'Forwarded: for=203.0.113.7',
  'X-Forwarded-Client-Cert: spoofed',
  'X-Real-IP: 203.0.113.7',
]

test('what a trusted peer tells about those before it goes on', async (t) => {
  for (const trustedProxies of [['127.0.0.0/8'], ['10.0.0.0/8', '127.0.0.1'], ['0.0.0.0/0']]) {
    assert.deepEqual(await received(t, TOLD, { trustedProxies }), {
      ...OWN,
      'x-forwarded-for': ['203.0.113.7, 198.51.100.1, 127.0.0.1'],
      'x-forwarded-proto': ['https'],
      'x-forwarded-host': ['public.example'],
      'x-forwarded-port': ['443'],
      forwarded: ['for=203.0.113.7, for=127.0.0.1;host=gateway.example;proto=http'],
    })
  }
})

test('the caller of a trusted peer cannot name its addresses away by Connection', async (t) => {
  const lines = ['Connection: X-Forwarded-For, X-Forwarded-Host', ...TOLD]
  const headers = await received(t, lines, { trustedProxies: ['127.0.0.1'] })
  assert.deepEqual(headers['x-forwarded-for'], ['203.0.113.7, 198.51.100.1, 127.0.0.1'])
  assert.deepEqual(headers['x-forwarded-host'], ['public.example'])
})

test('what anyone else tells about those before it does not', async (t) => {
  for (const trustedProxies of [[], ['10.0.0.0/8', '::1', '127.0.0.2']]) {
    assert.deepEqual(await received(t, TOLD, { trustedProxies }), OWN)
  }
})

test('aliases of forwarding headers do not go on, even from a trusted peer', async (t) => {
  const lines = [
    'X_Forwarded_For: 203.0.113.7',
    'X-Forwarded_Host: spoofed',
    'X-Forwarded-Client_Cert: Hash=spoofed',
    'X-Forwarded-Client.Cert: Hash=spoofed',
    'x-forwarded-user~name: spoofed',
  ]
  assert.deepEqual(await received(t, lines, { trustedProxies: ['127.0.0.1'] }), OWN)
  // The twin differs in the spelling alone.
  const told = await received(t, ['x-forwarded-user-name: told'], { trustedProxies: ['127.0.0.1'] })
  assert.deepEqual(told, { ...OWN, 'x-forwarded-user-name': ['told'] })
})

test('ranges that are none are refused at creation', async (t) => {
  for (const range of ['x', '127.0.0.1/33', '127.0.0.1/', '127.0.0.1/8/8', '::1/129', '1.2.3/8']) {
    await assert.rejects(
      startProxy(t, 'http://127.0.0.1:1', { trustedProxies: [range] }),
      TypeError,
    )
  }
  await startProxy(t, 'http://127.0.0.1:1', { trustedProxies: ['::1/128', 'fd00::/8', '1.2.3.4'] })
})

test('Forwarded quotes what is no token', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url)
  for (const host of ['h:8080', '[::1]:80', 'my_service.internal']) {
    await ask(t, port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  }
  assert.deepEqual(
    upstream.requests.map((_, index) => upstream.header(index, 'forwarded')[0]),
    [
      'for=127.0.0.1;host="h:8080";proto=http',
      'for=127.0.0.1;host="[::1]:80";proto=http',
      'for=127.0.0.1;host=my_service.internal;proto=http',
    ],
  )
})

test('whatever bytes Node lets into a header, the caller is to blame or they pass', async (t) => {
  const upstream = await startRecorder(t)
  const { port, outcomes } = await startProxy(t, upstream.url)
  for (let byte = 1; byte < 256; byte++) {
    if (byte === 10 || byte === 13) continue
    const value = `a${String.fromCharCode(byte)}b`
    const answer = await ask(t, port, `GET / HTTP/1.1\r\nHost: h\r\nX-A: ${value}\r\n\r\n`)
    if (!answer.startsWith('HTTP/1.1 200')) assert.match(answer, /^HTTP\/1\.1 400/, `${byte}`)
    else assert.equal(upstream.header(upstream.requests.length - 1, 'x-a')[0], value)
  }
  assert.ok(outcomes.length > 180)
})

test('names of Object.prototype are ordinary headers', async (t) => {
  const headers = await received(t, ['__proto__: 1', 'constructor: 2', 'toString: 3'])
  assert.deepEqual(
    [Object.entries(headers).length, headers['constructor'], headers['tostring']],
    [Object.entries(OWN).length + 3, ['2'], ['3']],
  )
})

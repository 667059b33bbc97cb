/** The recipes of `deploy/forward-auth`, as they stand but for their ports, with the proxies that they are for. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { ask, request } from '../attack/wire.ts'
import { startIssuer } from '../issuer.ts'
import { missing, startProgram } from '../programs.ts'
import {
  assertTokensContained,
  claimsOf,
  oneRoute,
  startGateway,
  startUpstream,
} from '../system.ts'

interface DataPlane {
  readonly program: string
  /** The files of the recipe, the first of which holds the ports. */
  readonly files: readonly string[]
  /** What is written around the recipe, so that it runs by itself. */
  readonly around?: (recipe: string, folder: string) => string
  readonly args: (file: string, folder: string) => readonly string[]
  /** What a caller meets where Behalf answers 503. */
  readonly unavailable: number
}

const DATA_PLANES: Readonly<Record<string, DataPlane>> = {
  nginx: {
    program: 'nginx',
    files: ['nginx.conf'],
    around: (recipe, folder) =>
      `daemon off; master_process off; pid ${folder}/pid; error_log stderr; events {} ` +
      `http { access_log off; ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
        .map((name) => `${name}_temp_path ${folder}/${name};`)
        .join(' ')}\n${recipe} }`,
    args: (file, folder) => ['-p', folder, '-c', file],
    unavailable: 503,
  },
  Caddy: {
    program: 'caddy',
    files: ['Caddyfile'],
    around: (recipe) => `{\n\tadmin off\n}\n${recipe}`,
    args: (file) => ['run', '--adapter', 'caddyfile', '--config', file],
    unavailable: 503,
  },
  HAProxy: {
    program: 'haproxy',
    files: ['haproxy.cfg', 'behalf.lua'],
    args: (file, folder) => ['-db', '-C', folder, '-f', file],
    unavailable: 503,
  },
}

const RECIPES = 'deploy/forward-auth'

for (const [name, plane] of Object.entries(DATA_PLANES)) {
  const skip = missing(plane.program)

  test(
    `${name} forwards with the issued token, and nobody else meets one`,
    { skip, timeout: 60_000 },
    async (t) => {
      const { issuer, upstream, gateway, front } = await start(t, plane)
      const token = await issuer.token()
      const forged = ['X-Forwarded-Uri: /other', 'X-Forwarded-Method: TRACE', 'X-Forwarded-Host: x']
      const headers = [`Authorization: Bearer ${token}`, 'DPoP: a.b.c', ...forged]
      const posted = [...headers, 'Content-Length: 4', 'Content-Type: text/plain']

      const answer = await ask(t, front, request('GET /orders/1?a=b', headers))
      const other = await ask(t, front, request('POST /orders/2', posted, 'body'))

      assert.deepEqual([answer.status, other.status], [200, 200])
      assert.deepEqual(
        upstream.received.map(({ method, url, body }) => [method, url, body]),
        [
          ['GET', '/orders/1?a=b', ''],
          ['POST', '/orders/2', 'body'],
        ],
      )
      for (const { headers: received, rawHeaders } of upstream.received) {
        const { aud, sub } = claimsOf(received.authorization)
        assert.deepEqual([aud, sub], ['https://orders.internal', 'user|alice'])
        const names = rawHeaders
          .filter((_, index) => index % 2 === 0)
          .map((one) => one.toLowerCase())
        assert.equal(names.filter((one) => one === 'authorization').length, 1)
        assert.equal(names.includes('dpop'), false)
      }
      assert.doesNotMatch(answer.head + other.head, /^authorization:/im)
      assertTokensContained(gateway, upstream, token)
      assert.equal(issuer.exchanges.length, 1)
    },
  )

  test(
    `${name} hands on what a caller can do about a refusal`,
    { skip, timeout: 60_000 },
    async (t) => {
      const { issuer, upstream, front } = await start(t, plane)
      const none = await ask(t, front, request('GET /orders/1', []))
      assert.equal(none.status, 401)
      assert.match(none.head, /^www-authenticate: Bearer\r$/im)

      const weak = await issuer.token({ scope: 'other' })
      const lacking = await ask(
        t,
        front,
        request('GET /orders/1', [`Authorization: Bearer ${weak}`]),
      )
      assert.equal(lacking.status, 403)

      issuer.answer = (_form, response) => void response.writeHead(503).end()
      const token = await issuer.token({ sub: 'user|bob' })
      const later = await ask(
        t,
        front,
        request('GET /orders/1', [`Authorization: Bearer ${token}`]),
      )
      assert.equal(later.status, plane.unavailable)
      assert.match(later.head, /^retry-after: \d+\r$/im)
      assert.equal(upstream.received.length, 0)
    },
  )
}

async function start(t: TestContext, plane: DataPlane) {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    endpoints: { forwardAuth: { listen: '127.0.0.1:0', original: 'headers' } },
  })
  const front = await startDataPlane(t, plane, {
    '127.0.0.1:8082': new URL(gateway.forwardAuthOrigin!).host,
    '127.0.0.1:9001': new URL(upstream.origin).host,
  })
  return { issuer, upstream, gateway, front }
}

async function startDataPlane(
  t: TestContext,
  { program, files, around = (recipe) => recipe, args }: DataPlane,
  addresses: Readonly<Record<string, string>>,
): Promise<string> {
  const port = await startProgram(t, {
    program,
    args(at, folder) {
      for (const [index, name] of files.entries()) {
        let text = readFileSync(join(RECIPES, name), 'utf8')
        for (const [usual, actual] of Object.entries({ ...addresses, ':8088': `:${at}` })) {
          text = text.replaceAll(usual, actual)
        }
        writeFileSync(join(folder, name), index === 0 ? around(text, folder) : text)
      }
      return args(join(folder, files[0]!), folder)
    },
  })
  return `http://127.0.0.1:${port}`
}

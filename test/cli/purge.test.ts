import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { folder } from '../folder.ts'
import { behalf, YAML } from './behalf.ts'

const environment = { CLIENT_SECRET: 'x' }

interface Asked {
  readonly line: string
  readonly authorization: string | undefined
  readonly body: string
}

async function admin(t: TestContext, status: number): Promise<{ port: number; asked: Asked[] }> {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    void textOf(request).then((body) => {
      const { method, url, headers } = request
      asked.push({ line: `${method} ${url}`, authorization: headers.authorization, body })
      response.writeHead(status).end()
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, asked }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}

test('what is named is asked of the admin listener, with its token: exit 0', async (t) => {
  const { port, asked } = await admin(t, 204)
  const yaml = `admin: { listen: "127.0.0.1:${port}", token: the-admin-token }\n${YAML}`
  const cwd = await folder(t, { 'behalf.yaml': yaml })
  const argv = ['purge', '--subject', 'auth0|alice', '--issuer', 'https://tenant.example/']
  assert.deepEqual(await behalf(argv, { cwd, environment }), { code: 0, out: 'purged\n', err: '' })
  assert.deepEqual(
    asked.map(({ body, ...rest }) => ({ ...rest, body: JSON.parse(body) as unknown })),
    [
      {
        line: 'POST /purge',
        authorization: 'Bearer the-admin-token',
        body: { subject: 'auth0|alice', issuer: 'https://tenant.example/' },
      },
    ],
  )
})

test('another answer than 204 purged nothing: exit 1', async (t) => {
  const { port } = await admin(t, 401)
  const yaml = `admin: { listen: "127.0.0.1:${port}", token: the-admin-token }\n${YAML}`
  const cwd = await folder(t, { 'behalf.yaml': yaml })
  const { code, err } = await behalf(['purge', '--sid', 's'], { cwd, environment })
  assert.equal(code, 1)
  assert.match(err, /answered 401/)
})

test('nothing named is a wrong command line: exit 64', async (t) => {
  const cwd = await folder(t, { 'behalf.yaml': YAML })
  assert.equal((await behalf(['purge'], { cwd, environment })).code, 64)
})

test('a gateway without an admin token cannot be asked: exit 64, and why', async (t) => {
  const cwd = await folder(t, { 'behalf.yaml': YAML })
  const { code, err } = await behalf(['purge', '--client', 'c'], { cwd, environment })
  assert.equal(code, 64)
  assert.match(err, /admin\.token/)
})

test(
  'over TLS nobody but the gateway that is configured is shown the token',
  { skip: NO_OPENSSL },
  async (t) => {
    const authority = createAuthority()
    const [own, other] = [authority.issue('own'), authority.issue('other')]
    for (const [shown, expected] of [
      [own, ['Bearer the-admin-token']],
      [other, []],
    ] as const) {
      const tokens: unknown[] = []
      const options = { cert: shown.certificate, key: shown.key }
      const server = https.createServer(options, ({ headers }, response) => {
        tokens.push(headers.authorization)
        response.writeHead(204).end()
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.after(() => server.close())
      const { port } = server.address() as AddressInfo
      const cwd = await folder(t, {
        'tls.crt': own.certificate,
        'tls.key': own.key,
        'behalf.yaml': `admin:
  listen: "127.0.0.1:${port}"
  token: the-admin-token
  tls: { certificate: tls.crt, key: tls.key }
${YAML}`,
      })
      const { code } = await behalf(['purge', '--sid', 'one'], { cwd, environment })
      assert.equal(code, expected.length === 0 ? 1 : 0)
      assert.deepEqual(tokens, expected)
    }
  },
)

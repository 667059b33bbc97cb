import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { folder } from '../folder.ts'
import { behalf, YAML } from './behalf.ts'

async function listen(t: TestContext, handler: RequestListener): Promise<number> {
  const server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const environment = { CLIENT_SECRET: 'x' }

for (const host of ['127.0.0.1', '0.0.0.0']) {
  test(`the admin listener on ${host} is asked for /livez, and lives: exit 0`, async (t) => {
    const asked: (string | undefined)[] = []
    const port = await listen(t, ({ method, url }, response) => {
      asked.push(`${method} ${url}`)
      response.end('ok\n')
    })
    const yaml = `admin: { listen: "${host}:${port}", token: t }\n${YAML}`
    const cwd = await folder(t, { 'behalf.yaml': yaml })
    assert.deepEqual(await behalf(['healthcheck'], { cwd, environment }), {
      code: 0,
      out: 'ok\n',
      err: '',
    })
    assert.deepEqual(asked, ['GET /livez'])
  })
}

test('another status than 200 is not alive: exit 1', async (t) => {
  for (const status of [503, 404, 204, 302]) {
    const port = await listen(t, (_request, response) => response.writeHead(status).end())
    const url = `http://127.0.0.1:${port}/livez`
    const { code, out } = await behalf(['healthcheck', '--url', url])
    assert.equal(code, 1)
    assert.equal(out, `${url} was answered ${status}\n`)
  }
})

test('a body without an end does not hold it up', async (t) => {
  const port = await listen(t, (_request, response) => response.writeHead(200).write('o'))
  const { code } = await behalf(['healthcheck', '--url', `http://127.0.0.1:${port}/`])
  assert.equal(code, 0)
})

test('nobody there: exit 1', async () => {
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as AddressInfo
  closed.close()
  await once(closed, 'close')
  const { code, out } = await behalf(['healthcheck', '--url', `http://127.0.0.1:${port}/`])
  assert.equal(code, 1)
  assert.match(out, /ECONNREFUSED/)
})

test('no answer within two seconds: exit 1', async (t) => {
  const port = await listen(t, () => undefined)
  const url = `http://127.0.0.1:${port}/`
  const { code, out } = await behalf(['healthcheck', '--url', url])
  assert.equal(code, 1)
  assert.equal(out, `${url} was not answered in time\n`)
})

test('a configuration that is bad is exit 78, as everywhere', async (t) => {
  const cwd = await folder(t, { 'behalf.yaml': 'x: 1\n' })
  assert.equal((await behalf(['healthcheck'], { cwd })).code, 78)
})

test('a listener on any free port cannot be known: exit 64', async (t) => {
  const cwd = await folder(t, { 'behalf.yaml': `admin: { listen: "127.0.0.1:0" }\n${YAML}` })
  const { code, err } = await behalf(['healthcheck'], { cwd, environment })
  assert.equal(code, 64)
  assert.match(err, /use --url/)
  assert.equal((await behalf(['healthcheck', '--url', 'nowhere'], { cwd })).code, 64)
})

test(
  'over TLS it must show the certificate that is configured: exit 0, else 1',
  { skip: NO_OPENSSL },
  async (t) => {
    const authority = createAuthority()
    const [own, other] = [authority.issue('own'), authority.issue('other')]
    const cwd = await folder(t, { 'tls.crt': own.certificate, 'tls.key': own.key })
    for (const [shown, code] of [
      [own, 0],
      [other, 1],
    ] as const) {
      const options = { cert: shown.certificate, key: shown.key }
      const server = https.createServer(options, (_request, response) => response.end('ok\n'))
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.after(() => server.close())
      const { port } = server.address() as AddressInfo
      const tls = '{ certificate: tls.crt, key: tls.key }'
      await writeFile(
        join(cwd, 'behalf.yaml'),
        `admin: { listen: "127.0.0.1:${port}", tls: ${tls} }\n${YAML}`,
      )
      const ended = await behalf(['healthcheck'], { cwd, environment })
      assert.equal(ended.code, code)
      if (code === 1) assert.match(ended.out, /does not show the certificate that is configured/)
    }
  },
)

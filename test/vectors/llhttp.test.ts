import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { startIssuer } from '../issuer.ts'
import { dial, startRecorder, type Wire } from '../proxy/upstream.ts'
import { oneRoute, startGateway, type Gateway, type Scope } from '../system.ts'
import { readFixtures, type Fixture } from './llhttp.ts'

const folder = process.env['VECTORS_DIR']
const skip = folder === undefined && 'VECTORS_DIR names no folder of test vectors'
const NO_CONTENT = 'HTTP/1.1 204 No Content\r\n\r\n'
/** undici takes `\\r\\r` for the end of a status line, and frames what follows as it says. */
const READ_BY_UNDICI = new Set(['invalid.md: Bare CR followed by CR after response line'])
const GARBAGE = `\0garbage\r\n\r\n${'\0'.repeat(50_000)}\r\n\r\n`

test(
  "of the bytes of llhttp's requests no more arrives than its parser reads as requests",
  { skip, timeout: 120_000 },
  async (t) => {
    const fixtures = readFixtures(join(folder!, 'llhttp', 'request'))
    assert.ok(fixtures.length >= 160, `${fixtures.length} fixtures were read`)
    const issuer = await startIssuer(t)
    const token = await issuer.token()
    const recorder = await startRecorder(t, NO_CONTENT, { raw: false })
    const gateway = await startGateway(t, everywhere(issuer.url, recorder.url))
    await Promise.all(fixtures.map((fixture, index) => send(t, gateway, fixture, { index, token })))

    const counts = new Map<string, number>()
    const arrivedOf = new Map<string, number>()
    for (const { path, headers } of recorder.requests) {
      const index = headers.find(([name]) => name === 'x-case')?.[1]
      assert.ok(index !== undefined, `${path} arrived, which stood in a body`)
      arrivedOf.set(index, (arrivedOf.get(index) ?? 0) + 1)
      const frames = headers.filter(([one]) => /^(?:content-length|transfer-encoding)$/.test(one))
      assert.ok(frames.length <= 1, `${fixtures[Number(index)]!.name}: framed twice`)
    }
    for (const [index, { name, type, begun }] of fixtures.entries()) {
      const arrived = arrivedOf.get(String(index)) ?? 0
      if (!type.includes('lenient')) {
        // What follows the fixture may end its last body.
        assert.ok(arrived <= begun, `${name}: ${arrived} arrived of ${begun}`)
      }
      const what = `${arrived} of ${begun} arrived`
      counts.set(what, (counts.get(what) ?? 0) + 1)
    }
    t.diagnostic(`${fixtures.length} fixtures of requests: ${told(counts)}`)
    assert.ok((counts.get('1 of 1 arrived') ?? 0) > 10, 'some of them do arrive')
  },
)

function everywhere(issuer: string, upstream: string): object {
  const { routes, ...others } = oneRoute({ issuer, upstream }) as {
    readonly routes: readonly object[]
  }
  return { ...others, routes: [{ ...routes[0], match: { path: '/', pathParameters: true } }] }
}

/** Each request of the fixture with our Host and token, and with what tells it from those of other fixtures. */
async function send(
  t: Scope,
  { origin }: Gateway,
  { name, bytes, complete }: Fixture,
  { index, token }: { readonly index: number; readonly token: string },
): Promise<void> {
  const wire = await dial(t, Number(new URL(origin).port))
  const ours = bytes.replace(
    /^([!-~]+ [^\r\n]+ HTTP\/1\.[01])\r\n(?:Host:[^\r\n]*\r\n)?/gim,
    (_, start: string) =>
      `${start}\r\nHost: gateway\r\nX-Case: ${index}\r\nAuthorization: Bearer ${token}\r\n`,
  )
  wire.socket.write(ours, 'latin1')
  // The end of a connection ends what is under way on it: what came whole has to be answered first.
  await answered(wire, complete)
  wire.socket.write(GARBAGE, 'latin1')
  await wire.closed
  assert.doesNotMatch(wire.text(), /"internal_error"/, name)
}

/** How long a request may wait that is not one to the gateway. */
const PATIENCE_MS = 5_000

async function answered(wire: Wire, count: number): Promise<void> {
  let over = false
  const late = new Promise<void>((resolve) => {
    setTimeout(() => {
      over = true
      resolve()
    }, PATIENCE_MS).unref()
  })
  void wire.closed.then(() => (over = true))
  while (!over && (wire.text().match(/HTTP\/1\.1 [2-5]\d\d /g) ?? []).length < count) {
    const more = new Promise<void>((resolve) => wire.socket.once('data', () => resolve()))
    await Promise.race([more, wire.closed, late])
  }
}

test(
  "of the bytes of llhttp's responses none stands in the next answer, and half an answer is none",
  { skip, timeout: 120_000 },
  async (t) => {
    const fixtures = readFixtures(join(folder!, 'llhttp', 'response'))
    assert.ok(fixtures.length >= 80, `${fixtures.length} fixtures were read`)
    const issuer = await startIssuer(t)
    const token = await issuer.token()
    const upstreams = await Promise.all(fixtures.map((fixture) => startAnswering(t, fixture.bytes)))
    const gateway = await startGateway(t, throughAll(issuer.url, upstreams))
    const counts = new Map<string, number>()
    await Promise.all(
      fixtures.map(async ({ name, type, complete }, index) => {
        const ask = async (): Promise<string> => {
          const wire = await dial(t, Number(new URL(gateway.origin).port))
          wire.socket.write(
            `GET /case-${index} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n\r\n`,
          )
          await wire.closed
          return wire.text()
        }
        const outcome = outcomeOf(await ask())
        counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
        const read = complete > 0 || type.includes('lenient') || READ_BY_UNDICI.has(name)
        assert.ok(outcome !== 'whole' || read, `${name}: half an answer passed for a whole one`)
        const next = await ask()
        assert.match(next, /^HTTP\/1\.1 200 OK\r\n/, name)
        assert.equal(next.slice(next.indexOf('\r\n\r\n') + 4), 'next', name)
      }),
    )
    t.diagnostic(`${fixtures.length} fixtures of responses: ${told(counts)}`)
    assert.ok((counts.get('whole') ?? 0) > 10, 'some of them are whole')
  },
)

/** Answers the first request with these bytes, on a connection that stays open, and every other one properly. */
async function startAnswering(t: Scope, bytes: string): Promise<string> {
  let asked = 0
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', () => {
      const answer = asked++ === 0 ? bytes : 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext'
      socket.write(answer, 'latin1')
    })
    t.after(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function throughAll(issuer: string, upstreams: readonly string[]): object {
  const { routes, ...others } = oneRoute({ issuer, upstream: '' }) as {
    readonly routes: readonly object[]
  }
  return {
    ...others,
    routes: upstreams.map((upstream, index) => ({
      ...routes[0],
      name: `case-${index}`,
      match: { path: `/case-${index}` },
      // What has no end is waited for, and half of these have none.
      proxy: { upstream, timeout: '300ms' },
    })),
  }
}

/** `whole`, `cut`, or the code that it was answered with instead. */
function outcomeOf(answer: string): string {
  const [head = '', body = ''] = answer.split(/\r\n\r\n([^]*)/)
  const code = /"code":"(\w+)"/.exec(body)?.[1]
  if (code !== undefined) return code
  const length = /^content-length: *(\d+)/im.exec(head)?.[1]
  const isWhole =
    length !== undefined
      ? body.length === Number(length)
      : /^transfer-encoding: *chunked/im.test(head)
        ? /(?:^|\r\n)0\r\n\r\n$/.test(body)
        : /^HTTP\/1\.1 (?:204|304)/.test(head)
  return isWhole ? 'whole' : 'cut'
}

function told(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .sort(([, one], [, other]) => other - one)
    .map(([what, count]) => `${what}: ${count}`)
    .join('; ')
}

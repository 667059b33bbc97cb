import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Route } from '../../src/config/config.ts'
import { GatewayError } from '../../src/errors.ts'
import { createMatch } from '../../src/route/match.ts'
import { canonicalTarget } from '../../src/route/target.ts'
import { missing, startProgram } from '../programs.ts'
import { hostileTargets, PATHS, READERS, served } from './hostile.ts'

const TARGETS = hostileTargets(10_000)
const HOST = { host: 'gateway.example' }

const match = createMatch(
  PATHS.map((path) => {
    return {
      name: path,
      match: { path, hosts: [], methods: undefined, pathParameters: false },
    } as unknown as Route
  }),
)

interface Accepted {
  /** What is forwarded. */
  readonly forwarded: string
  readonly route: string
}

function accepted(targets: readonly string[]): readonly Accepted[] {
  return targets.flatMap((raw) => {
    try {
      const target = canonicalTarget(raw, HOST)
      return [
        { forwarded: target.path + target.query, route: match('GET', HOST.host, target).name },
      ]
    } catch (error) {
      assert.ok(error instanceof GatewayError, raw)
      assert.ok(error.status === 400 || error.status === 404, raw)
      return []
    }
  })
}

const ACCEPTED = accepted(TARGETS)

test('of thousands of hostile targets, enough are accepted to be worth a look, on every route', () => {
  assert.ok(TARGETS.length >= 2_000)
  assert.ok(ACCEPTED.length >= 1_000, `${ACCEPTED.length}`)
  for (const path of PATHS) {
    const count = ACCEPTED.filter(({ route }) => route === path).length
    assert.ok(count >= 20, `${path}: ${count}`)
  }
})

for (const [name, read] of Object.entries(READERS)) {
  test(`${name} serves each accepted target by the route that it was matched to`, () => {
    const wrong = ACCEPTED.filter(({ forwarded, route }) => served(read(forwarded)) !== route)
    assert.deepEqual(wrong, [])
  })

  test(`${name} serves targets by other routes than a matcher of raw paths has in mind`, () => {
    const naive = TARGETS.filter((target) => target.startsWith('/')).flatMap((target) => {
      const route = served(target.replace(/[?#].*$/, ''))
      return route === undefined ? [] : [{ target, route }]
    })
    const wrong = naive.filter(({ target, route }) => {
      return URL.canParse(target, 'http://u.example') && served(read(target)) !== route
    })
    assert.ok(wrong.length >= 50, `${wrong.length}`)
  })
}

/** Answers with the path of the route that it would serve. */
function startNginx(t: TestContext): Promise<number> {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  // Regular expressions decide in their order.
  const rank = (path: string): number =>
    path.includes('{') ? 1 : path.split('/').length > 2 ? 0 : 2
  const locations = PATHS.toSorted((one, other) => rank(one) - rank(other)).map((path) => {
    const [pattern, answer] = [path.replace('{id}', '[^/]+'), path.replace('{id}', ':id')]
    return `location ~ "^${pattern}(/|$)" { return 200 "${answer}"; }`
  })
  return startProgram(t, {
    program: 'nginx',
    args(port, folder) {
      const places = temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')
      const configuration = [
        `pid ${folder}/pid; error_log stderr crit; daemon off; master_process off;`,
        `events {} http { access_log off; keepalive_requests 100000; ${places}`,
        `server { listen 127.0.0.1:${port}; ${locations.join('\n')} location / { return 404; } } }`,
      ]
      writeFileSync(join(folder, 'nginx.conf'), configuration.join('\n'))
      return ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')]
    },
  })
}

function get(agent: http.Agent, port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ agent, port, host: '127.0.0.1', path }, (response) => {
      let body = ''
      response.setEncoding('latin1').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve(response.statusCode === 200 ? body : ''))
    })
    request.on('error', reject)
  })
}

test(
  'nginx serves each accepted target by the route that it was matched to',
  { skip: missing('nginx') },
  async (t) => {
    const port = await startNginx(t)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
    t.after(() => agent.destroy())
    const answers = await Promise.all(ACCEPTED.map(({ forwarded }) => get(agent, port, forwarded)))
    const wrong = ACCEPTED.flatMap((one, index) => {
      const answer = answers[index]!.replace(':id', '{id}')
      return answer === one.route ? [] : [{ ...one, nginx: answer }]
    })
    assert.deepEqual(wrong, [])
    // It reads paths by its own rules, so that agreement is no accident.
    assert.equal(await get(agent, port, '/public/..%2forders/x%2f..%2fadmin'), '/orders/admin')
  },
)

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { loadConfig, readConfig } from '../src/config/load.ts'
import { ERROR_CODES, errorAnswer, GatewayError } from '../src/errors.ts'
import { startIssuer } from './issuer.ts'
import { bearer, oneRoute, startGateway, startUpstream } from './system.ts'

// The tests run compiled, from whichever directory, but always at the root of the repository.
const GENERATED = join('docs', 'configuration.md')
const PAGES = [
  ...['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'],
  ...readdirSync('docs').map((name) => join('docs', name)),
]
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, text: readFileSync(name, 'utf8') }))
const WRITTEN = PAGES.filter(({ name }) => name !== GENERATED)

/** What the examples' variables stand for. No other variable is seen while an example is loaded. */
const ENVIRONMENT = {
  STOREFRONT_CLIENT_ID: 'storefront-gateway',
  STOREFRONT_CLIENT_SECRET: 'a client secret',
  WEB_CLIENT_SECRET: 'the secret of a web client',
  STOREFRONT_SIGNING_SECRET: 'a signing secret of at least thirty-two bytes',
  REDIS_PASSWORD: 'a-password',
  SEALING_KEY: createHash('sha256').update('an example').digest('base64'),
}

function page(name: string): string {
  const found = PAGES.find((one) => one.name === name)
  assert.ok(found, `there is no ${name}`)
  return found.text
}

function blocks(text: string, language: string): readonly string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm')
  return [...text.matchAll(fence)].map(([, block]) => block!)
}

/** The text below a heading, up to the next one of its level or above. */
function section(text: string, heading: string): string {
  const [, marks = ''] = new RegExp(`^(#+) ${heading}$`, 'm').exec(text) ?? []
  assert.notEqual(marks, '', `there is no heading ${heading}`)
  const [, rest = ''] = text.split(new RegExp(`^#+ ${heading}$`, 'm'))
  return rest.split(new RegExp(`^#{1,${marks.length}} `, 'm'))[0]!
}

/** The cells of a table's body, by row, without backquotes. */
function rows(text: string): readonly (readonly string[])[] {
  const lines = text.split('\n').filter((line) => line.startsWith('|'))
  return lines.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  )
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The whole with a part of it laid over, mapping by mapping; lists are replaced. */
function withPart(whole: unknown, part: unknown): unknown {
  if (!isMapping(whole) || !isMapping(part)) return part
  const laid = Object.entries(part).map(([key, value]) => [key, withPart(whole[key], value)])
  return { ...whole, ...Object.fromEntries(laid) }
}

test('the configuration of the README has at most 15 lines and loads', async (t) => {
  const [example, ...others] = blocks(page('README.md'), 'yaml')
  assert.deepEqual(others, [])
  assert.ok(example!.trimEnd().split('\n').length <= 15)
  const folder = mkdtempSync(join(tmpdir(), 'behalf-docs-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'behalf.yaml')
  writeFileSync(file, example!)
  const config = await loadConfig(file, { environment: ENVIRONMENT })
  assert.equal(config.routes[0]?.authenticate.apis[0]?.client?.id, ENVIRONMENT.STOREFRONT_CLIENT_ID)
  assert.equal(config.issuers[0]?.budget?.rate, 8)
})

for (const { name, text } of WRITTEN) {
  for (const [index, block] of blocks(text, 'yaml').entries()) {
    test(`${name}: YAML block ${index + 1} is a configuration, or a part of the README’s`, () => {
      const [whole] = blocks(page('README.md'), 'yaml')
      const configuration = withPart(parse(whole!), parse(block)) as object
      assert.ok(readConfig(configuration, { environment: ENVIRONMENT }))
    })
  }
}

test('the README lists every failure with its status, in the order of the table in the code', () => {
  const listed = rows(section(page('README.md'), 'Failures')).map(([code, status]) => [
    code,
    status,
  ])
  const expected = ERROR_CODES.map((code) => [code, String(new GatewayError(code, '').status)])
  assert.deepEqual(listed, expected)
})

test('the README says of a failure that it is not raised yet exactly where nothing raises it', () => {
  const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && name !== 'errors.ts' && !name.startsWith('tenant'))
    .map((name) => readFileSync(join('src', name), 'utf8'))
  for (const [code, , when = ''] of rows(section(page('README.md'), 'Failures'))) {
    // What is no GatewayError becomes this one.
    const raised = code === 'internal_error' || sources.some((text) => text.includes(`'${code}'`))
    assert.equal(when.startsWith('not raised yet'), !raised, code)
  }
})

test('the problem that the README shows is one that the gateway renders', () => {
  const problems = blocks(page('README.md'), 'json').map((block) => JSON.parse(block) as object)
  const shown = problems.filter((one) => 'request_id' in one)
  assert.notEqual(shown.length, 0)
  for (const problem of shown) {
    const { code, detail, request_id: id } = problem as Readonly<Record<string, string>>
    const known = ERROR_CODES.find((one) => one === code)
    assert.ok(known)
    assert.deepEqual(problem, JSON.parse(errorAnswer(new GatewayError(known, detail!), id!).body))
  }
})

test('every line that the README shows of the demo is one that it prints, in this order', () => {
  const [excerpt] = blocks(section(page('README.md'), 'What the demo prints'), 'text')
  const printed = behalf('demo', '--once').split('\n').map(withoutChance)
  const shown = excerpt!.split('\n').map(withoutChance)
  let next = 0
  for (const line of shown.filter((one) => one !== '')) {
    const found = printed.indexOf(line, next)
    assert.ok(found >= next, line)
    next = found + 1
  }
})

/** Of a line that the demo prints: times, ports and ids differ from run to run. */
function withoutChance(line: string): string {
  const steady = line
    .replace(/[\d.]+ ms$/, '')
    .replace(/(127\.0\.0\.1):\d+/g, '$1')
    // Auth0 chooses ids.
    .replace(/\b[A-Za-z0-9]{32}\b/g, 'ID')
  return steady.trim().replace(/ {2,}/g, '  ')
}

/** What a command prints on standard output; throws where it does not exit 0. */
function behalf(...parameters: readonly string[]): string {
  const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))
  const env = { PATH: process.env['PATH'], NO_COLOR: '1' }
  return execFileSync(process.execPath, [main, ...parameters], {
    env,
    encoding: 'utf8',
    timeout: 60_000,
  })
}

test('the commands of the README are those of the command line', () => {
  const help = behalf('help')
  const commands = [...help.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name!)
  const listed = rows(section(page('README.md'), 'Commands')).map(([name]) => name!)
  assert.deepEqual(listed.toSorted(), commands.toSorted())

  const called = /(?:`|^)(?:behalf|node dist\/cli\/main\.js) ([a-z]+)/gm
  for (const { name, text } of PAGES) {
    for (const [, command] of text.matchAll(called)) {
      assert.ok(commands.includes(command!), `${name} calls behalf ${command}`)
    }
  }
})

test('the npm commands of the documents are there', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>
  }
  for (const { name, text } of PAGES) {
    for (const [, script] of text.matchAll(/\bnpm run ([a-z:]+)/g)) {
      assert.ok(Object.hasOwn(scripts, script!), `${name}: npm run ${script}`)
    }
    for (const [, script] of text.matchAll(/\bnpm (start|test|stop|restart)\b/g)) {
      assert.ok(Object.hasOwn(scripts, script!), `${name}: npm ${script}`)
    }
  }
})

test('what the examples import is exported', async () => {
  const [behalf, tenant] = await Promise.all([
    import('../src/index.ts'),
    import('../src/tenant/index.ts'),
  ])
  const exported: Readonly<Record<string, object>> = { behalf, 'behalf/tenant': tenant }
  const found = PAGES.flatMap(({ text }) => [
    ...text.matchAll(/import \{ ([^}]+) \} from '(behalf(?:\/\w+)?)'/g),
  ])
  assert.notEqual(found.length, 0)
  for (const [whole, names, from] of found) {
    for (const name of names!.split(',')) {
      assert.ok(Object.hasOwn(exported[from!] ?? {}, name.trim()), whole)
    }
  }
})

test('every link within the repository leads to a file, and to a heading where it names one', () => {
  for (const { name, text } of PAGES) {
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue
      const [path = '', anchor] = target!.split('#')
      const file = path === '' ? name : normalize(join(dirname(name), path))
      assert.ok(existsSync(file), `${name} links ${target}`)
      if (anchor === undefined) continue
      const headings = readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm)
      const anchors = Array.from(headings, ([, heading]) => anchorOf(heading!))
      assert.ok(anchors.includes(anchor), `${name} links ${target}`)
    }
  }
})

function anchorOf(heading: string): string {
  const words = heading.toLowerCase().replace(/[^a-z0-9 _-]/g, '')
  return words.replaceAll(' ', '-')
}

test('every guarantee names a test that is there', () => {
  const guarantees = section(page(join('docs', 'security.md')), 'Guarantees')
  const paragraphs = guarantees.split(/^\*\*/m).slice(1)
  assert.notEqual(paragraphs.length, 0)
  for (const paragraph of paragraphs) {
    const named = [...paragraph.matchAll(/^- \[.+?\]\(\.\.\/(.+?)\): “(.+)”$/gm)]
    assert.notEqual(named.length, 0, paragraph)
    assert.equal(paragraph.match(/^- /gm)?.length, named.length, paragraph)
    for (const [, file, sentence] of named) {
      const source = readFileSync(file!, 'utf8')
      const declared = [...source.matchAll(/\btest\(\s*(['"`])(.+?)\1,/g)].map(([, , one]) => one!)
      assert.ok(
        declared.some((one) => one.endsWith(sentence!)),
        `${file}: ${sentence}`,
      )
    }
  }
})

test('the metrics and the fields of the access line are those that a gateway writes', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const upstreams = [upstream, await startUpstream(t)].map(({ origin }) => ({ url: origin }))
  const gateway = await startGateway(t, {
    ...oneRoute({
      issuer: issuer.url,
      upstream: upstream.origin,
      proxy: { upstream: undefined, upstreams },
    }),
    issuers: { tenant: { issuer: issuer.url, profile: 'rfc8693', budget: { rate: 100 } } },
  })
  assert.equal((await fetch(`${gateway.origin}/orders`, bearer(await issuer.token()))).status, 200)
  while (!gateway.logged().includes('"msg":"request"')) await new Promise(setImmediate)

  const operations = page(join('docs', 'operations.md'))
  const kinds = [...gateway.metrics.render().matchAll(/^# TYPE (\S+) (\S+)$/gm)]
  assert.deepEqual(
    rows(section(operations, 'Metrics'))
      .map(([name, kind]) => `${name} ${kind}`)
      .toSorted(),
    kinds.map(([, name, kind]) => `${name} ${kind}`).toSorted(),
  )

  const line = gateway
    .logged()
    .split('\n')
    .find((one) => one.includes('"msg":"request"'))
  const described = section(operations, 'The access line')
  const fields = Object.keys(JSON.parse(line!) as object)
  assert.deepEqual(
    rows(described).map(([name]) => name),
    fields,
  )
  assert.deepEqual(Object.keys(JSON.parse(blocks(described, 'json')[0]!) as object), fields)
})

test('.env.example sets exactly the variables that the demo’s configuration names', () => {
  const configuration = readFileSync(join('deploy', 'demo', 'behalf.yaml'), 'utf8')
  const named = [...configuration.matchAll(/\$\{([A-Z_][A-Z0-9_]*)\}/g)].map(([, name]) => name!)
  const example = readFileSync('.env.example', 'utf8')
  const set = [...example.matchAll(/^([A-Z_][A-Z0-9_]*)=./gm)].map(([, name]) => name!)
  assert.deepEqual(set.toSorted(), [...new Set(named)].toSorted())
})

test('the documents keep to their words', () => {
  const avoided =
    /\bdownstream\b|(?<![-\w])rules?\b|(?<![-\w/])auth(?![-\w./])|\bTODO\b|\bsimply\b/i
  for (const { name, text } of WRITTEN) {
    const [word] = avoided.exec(text) ?? []
    assert.equal(word, undefined, name)
  }
})

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'

/** From the ground up (design, section 3). A file may import from the floors below it and from its own room. */
const FLOORS = [
  ['errors', 'log', 'metrics', 'outbound'],
  ['config', 'store'],
  ['route'],
  ['authenticate'],
  ['authorize'],
  ['exchange', 'provision', 'tenant'],
  ['proxy'],
  ['gateway'],
  ['endpoints'],
  ['server'],
  ['cli'],
  ['index'],
]

/** One library, one door. What is not named here belongs to nobody. */
const DOORS: Record<string, readonly string[]> = {
  jose: ['authenticate', 'exchange', 'provision', 'tenant'],
  'openid-client': ['exchange'],
  'lru-cache': ['store'],
  '@redis/client': ['store'],
  undici: ['proxy', 'outbound'],
  express: ['gateway', 'server', 'endpoints', 'tenant'],
  helmet: ['gateway', 'server', 'endpoints', 'tenant'],
  yaml: ['config'],
  zod: ['config'],
  auth0: ['provision'],
  pino: ['log'],
}

const PATH = ['gateway', 'route', 'authenticate', 'authorize', 'exchange', 'proxy']

interface File {
  readonly name: string
  /** Its folder, or itself where it stands on the ground of `src`. */
  readonly room: string
  readonly lines: readonly string[]
  /** What it imports, types too: names of our files, or of libraries. */
  readonly imports: readonly string[]
}

// The tests run compiled, from whichever directory, but always at the root of the repository.
const ROOT = 'src'
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^'";]*?from\s*'([^']+)'|\bimport(?:\s*\(\s*|\s+)'([^']+)'/g

const FILES: readonly File[] = readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => {
    const text = readFileSync(join(ROOT, name), 'utf8')
    const imports = [...text.matchAll(IMPORT)].map(([, from, bare]) => (from ?? bare)!)
    return {
      name,
      room: roomOf(name),
      lines: text.split('\n'),
      imports: imports.map((one) =>
        one.startsWith('.') ? relative(ROOT, join(ROOT, dirname(name), one)) : one,
      ),
    }
  })

function roomOf(name: string): string {
  return name.split('/')[0]!.replace(/\.ts$/, '')
}

const floorOf = (room: string): number => FLOORS.findIndex((rooms) => rooms.includes(room))
const isOurs = (name: string): boolean => name.endsWith('.ts')

test('every file is of a room that stands on a floor', () => {
  assert.ok(FILES.length > 10)
  assert.deepEqual(
    FILES.filter(({ room }) => floorOf(room) < 0).map(({ name }) => name),
    [],
  )
})

test('imports go down, never beside or up', () => {
  const wrong = FILES.flatMap(({ name, room, imports }) =>
    imports
      .filter(isOurs)
      .filter((to) => roomOf(to) !== room && floorOf(roomOf(to)) >= floorOf(room))
      .map((to) => `${name} imports ${to}`),
  )
  assert.deepEqual(wrong, [])
})

test('no room has a circle in it, of types neither', () => {
  const byName = new Map(FILES.map((file) => [file.name, file]))
  const done = new Set<string>()
  const visit = (name: string, way: readonly string[]): void => {
    assert.ok(!way.includes(name), [...way, name].join(' -> '))
    if (done.has(name)) return
    for (const to of byName.get(name)?.imports.filter(isOurs) ?? []) visit(to, [...way, name])
    done.add(name)
  }
  for (const { name } of FILES) visit(name, [])
})

test('each library has its door', () => {
  const libraryOf = (name: string): string => /^(?:@[^/]+\/)?[^/]+/.exec(name)![0]
  const wrong = FILES.flatMap(({ name, room, imports }) =>
    imports
      .filter((to) => !isOurs(to) && !to.startsWith('node:'))
      .filter((to) => !DOORS[libraryOf(to)]?.includes(room))
      .map((to) => `${name} imports ${to}`),
  )
  assert.deepEqual(wrong, [])
})

test('no file has more than 350 lines', () => {
  const long = FILES.filter(({ lines }) => lines.length - 1 > 350)
  assert.deepEqual(
    long.map(({ name }) => name),
    [],
  )
})

// prettier closes a block at the indentation of the line that opened it.
const OPENS = /^( *)(?!(?:export )?(?:class|interface|type) ).*(?:=>|\).*) \{$/

/** How many lines the block has that this line opens, with its parameters; 0 where it opens none. */
function lengthOf(lines: readonly string[], start: number): number {
  const indent = OPENS.exec(lines[start]!)?.[1]
  if (indent === undefined) return 0
  const end = lines.findIndex((line, at) => at > start && line.startsWith(`${indent}}`))
  let head = start
  while (lines[head]!.startsWith(`${indent})`) || lines[head]!.startsWith(`${indent} `)) head--
  return end - head + 1
}

test('no function on the path has more than 60 lines', () => {
  const long = FILES.filter(({ room }) => PATH.includes(room)).flatMap(({ name, lines }) =>
    [...lines.keys()]
      .filter((start) => lengthOf(lines, start) > 60)
      .map((start) => `${name}:${start + 1} has ${lengthOf(lines, start)} lines`),
  )
  assert.deepEqual(long, [])
})

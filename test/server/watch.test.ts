import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { joinReadings, readingOf, watchFiles, type WatchOptions } from '../../src/server/watch.ts'

interface Watched {
  readonly folder: string
  /** Resolves at the next change, when the files were read again. */
  change(): Promise<void>
  readonly changes: () => number
}

/** Of files with these texts, which are read as the watch begins. */
async function watched(
  t: TestContext,
  names: readonly string[],
  prepare: (folder: string) => Promise<void>,
  options: Partial<WatchOptions> = {},
): Promise<Watched> {
  const folder = await mkdtemp(join(tmpdir(), 'behalf-watch-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await prepare(folder)
  let readings = new Map<string, string | undefined>()
  const read = async (): Promise<void> => {
    const now = new Map<string, string | undefined>()
    for (const name of names) {
      const file = join(folder, name)
      now.set(file, await readFile(file, 'utf8').then(readingOf, () => undefined))
    }
    readings = now
  }
  await read()
  let changes = 0
  let told = (): void => undefined
  const watch = watchFiles({
    readings: () => readings,
    async changed() {
      await read()
      changes++
      told()
    },
    ...options,
  })
  t.after(() => watch.close())
  stayAwake(t)
  return {
    folder,
    changes: () => changes,
    change: () => new Promise((resolve) => (told = resolve)),
  }
}

/** A watch holds no process. */
function stayAwake(t: TestContext): void {
  const timer = setInterval(() => undefined, 1_000)
  t.after(() => clearInterval(timer))
}

/** At once: nobody sees half of it. */
async function put(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}

const NEVER_MS = 3_600_000
/** Nobody tells of anything. */
const DEAF = { everyMs: 20, watchFolder: () => ({ close: () => undefined }) }

for (const [how, options] of [
  ['is told of', { everyMs: NEVER_MS }],
  ['is found by looking, where nobody tells,', DEAF],
] as const) {
  test(`a file that is written ${how} as a change`, async (t) => {
    const prepare = (folder: string): Promise<void> => writeFile(join(folder, 'a'), 'old')
    const { folder, change } = await watched(t, ['a'], prepare, options)
    const changed = change()
    await writeFile(join(folder, 'a'), 'new')
    await changed
  })

  test(`a file that is replaced ${how} as a change`, async (t) => {
    const prepare = (folder: string): Promise<void> => writeFile(join(folder, 'a'), 'old')
    const { folder, change } = await watched(t, ['a'], prepare, options)
    const changed = change()
    await put(join(folder, 'a'), 'new')
    await changed
  })

  test(`a link to a folder that is swapped, as Kubernetes does it, ${how} as a change`, async (t) => {
    const prepare = async (folder: string): Promise<void> => {
      await version(folder, '..1', 'old')
      await symlink('..1', join(folder, '..data'))
      await symlink(join('..data', 'a'), join(folder, 'a'))
    }
    const { folder, change } = await watched(t, ['a'], prepare, options)
    for (const [number, text] of [
      [2, 'new'],
      [3, 'newest'],
    ] as const) {
      const changed = change()
      await version(folder, `..${number}`, text)
      await symlink(`..${number}`, join(folder, '..data_tmp'))
      await rename(join(folder, '..data_tmp'), join(folder, '..data'))
      await rm(join(folder, `..${number - 1}`), { recursive: true })
      await changed
    }
  })

  test(`a file that goes, and one that comes, ${how} as changes`, async (t) => {
    const { folder, change } = await watched(t, ['a'], async () => undefined, options)
    const came = change()
    await put(join(folder, 'a'), 'new')
    await came
    const went = change()
    await unlink(join(folder, 'a'))
    await went
  })
}

async function version(folder: string, name: string, text: string): Promise<void> {
  await mkdir(join(folder, name))
  await writeFile(join(folder, name, 'a'), text)
}

test('what changed before anybody watched is a change, too', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'behalf-watch-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'a')
  await writeFile(file, 'new')
  let readings = new Map([[file, readingOf('old')]])
  stayAwake(t)
  await new Promise<void>((resolve) => {
    const watch = watchFiles({
      readings: () => readings,
      async changed() {
        readings = new Map([[file, readingOf('new')]])
        resolve()
      },
      everyMs: NEVER_MS,
    })
    t.after(() => watch.close())
  })
})

test('the same text, written again, is no change', async (t) => {
  const prepare = async (folder: string): Promise<void> => {
    await writeFile(join(folder, 'a'), 'same')
    await writeFile(join(folder, 'b'), 'old')
  }
  const { folder, change, changes } = await watched(t, ['a', 'b'], prepare, DEAF)
  await put(join(folder, 'a'), 'same')
  const changed = change()
  // What comes after it is the first that is told.
  await put(join(folder, 'b'), 'new')
  await changed
  assert.equal(changes(), 1)
})

test('a folder that is replaced by another is listened to again', async (t) => {
  const prepare = async (folder: string): Promise<void> => version(folder, 'inner', 'old')
  const { folder, change } = await watched(t, ['inner/a'], prepare, { everyMs: 20 })
  for (const text of ['one', 'two']) {
    const changed = change()
    await rm(join(folder, 'inner'), { recursive: true })
    await changed
    const again = change()
    await version(folder, 'inner', text)
    await again
  }
})

test('a file that was read twice, and changed in between, is one that changed', () => {
  const [one, other] = [readingOf('one'), readingOf('other')]
  const joined = joinReadings([
    new Map([
      ['/same', one],
      ['/gone', undefined],
    ]),
    new Map([
      ['/same', one],
      ['/other', other],
      ['/gone', undefined],
    ]),
  ])
  assert.deepEqual(
    [...joined],
    [
      ['/same', one],
      ['/gone', undefined],
      ['/other', other],
    ],
  )
  const twice = joinReadings([new Map([['/a', one]]), new Map([['/a', other]])]).get('/a')
  assert.equal([one, other, undefined, readingOf('')].includes(twice), false)
})

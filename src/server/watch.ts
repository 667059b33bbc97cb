import { hash } from 'node:crypto'
import { type FSWatcher, watch as watchFolder } from 'node:fs'
import { readFile, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What files held when they were read last: SHA-256 of their texts; undefined of those that could not be read. */
export type Readings = ReadonlyMap<string, string | undefined>

export interface WatchOptions {
  /** By absolute paths. Whoever is told of a change reads them again, and has other readings from then on. */
  readonly readings: () => Readings
  /** One of them holds something else by now. Must not reject. */
  readonly changed: () => Promise<unknown>
  /** How often they are looked at in any case, in milliseconds. Default 5 000. */
  readonly everyMs?: number
  /** Default: by `fs.watch`. */
  readonly watchFolder?: (folder: string, heard: () => void) => Pick<FSWatcher, 'close'>
}

export interface Watch {
  /** There are other readings than before: looks whether they are still true, and listens where they are from. */
  look(): void
  close(): void
}

const EVERY_MS = 5_000
/** Who writes one file is about to write the next, in milliseconds. */
const SETTLE_MS = 100

/**
 * Tells when files hold something else than was read of them, whoever replaced them, and however: contents are compared.
 * Folders are listened to, since Kubernetes swaps a link beside the files (`..data`), and editors replace files; where nobody
 * tells of changes, as in network file systems, they are found by looking.
 */
export function watchFiles(options: WatchOptions): Watch {
  const { readings, changed, everyMs = EVERY_MS, watchFolder = listenTo } = options
  let watchers: readonly Pick<FSWatcher, 'close'>[] = []
  let listened = ''
  let calm: string | undefined
  let looking = false
  let again = false
  let closed = false
  let settling: NodeJS.Timeout | undefined

  function soon(): void {
    settling ??= setTimeout(() => {
      settling = undefined
      void look()
    }, SETTLE_MS).unref()
  }

  async function look(): Promise<void> {
    if (looking) {
      again = true
      return
    }
    looking = true
    do {
      again = false
      await lookOnce()
    } while (again && !closed)
    looking = false
  }

  async function lookOnce(): Promise<void> {
    const known = readings()
    await listen([...known.keys()])
    // Before the contents: what is written in between is then seen as a change the next time.
    const stamp = await stampOf([...known.keys()])
    if (stamp === calm || closed) return
    calm = undefined
    if (await isSame(known)) calm = stamp
    else if (!closed) await changed()
  }

  async function listen(files: readonly string[]): Promise<void> {
    const all = await foldersOf(files)
    const inodes = await inodesOf(all)
    if (inodes === listened || closed) return
    listened = inodes
    for (const watcher of watchers) watcher.close()
    watchers = all.map((folder) => watchFolder(folder, soon))
  }

  const timer = setInterval(() => void look(), everyMs).unref()
  void look()
  return {
    look: () => void look(),
    close() {
      closed = true
      clearInterval(timer)
      clearTimeout(settling)
      for (const watcher of watchers) watcher.close()
    },
  }
}

export function readingOf(text: string): string {
  return hash('sha256', text, 'base64url')
}

/** What several have read. A file that changed in between is one to read again: nothing holds what no text has. */
export function joinReadings(all: Iterable<Readings>): Readings {
  const joined = new Map<string, string | undefined>()
  for (const readings of all) {
    for (const [file, reading] of readings) {
      joined.set(file, joined.has(file) && joined.get(file) !== reading ? NO_TEXT : reading)
    }
  }
  return joined
}

const NO_TEXT = ''

async function isSame(known: Readings): Promise<boolean> {
  for (const [file, reading] of known) {
    const now = await readFile(file, 'utf8').then(readingOf, () => undefined)
    if (now !== reading) return false
  }
  return true
}

async function stampOf(files: readonly string[]): Promise<string> {
  return (await Promise.all(files.map(stampOfOne))).join('\n')
}

async function stampOfOne(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  } catch {
    return 'gone'
  }
}

/** Where their names stand, and where what they name does. */
async function foldersOf(files: readonly string[]): Promise<readonly string[]> {
  const real = await Promise.all(files.map((file) => realpath(file).catch(() => file)))
  return [...new Set([...files, ...real].map((file) => dirname(file)))].sort()
}

/** A folder that was replaced by another of its name is not the one that is listened to. */
async function inodesOf(folders: readonly string[]): Promise<string> {
  const inodes = await Promise.all(
    folders.map((folder) =>
      stat(folder).then(
        ({ ino }) => ino,
        () => 0,
      ),
    ),
  )
  return JSON.stringify([folders, inodes])
}

/** Without it, or where it ends, they are looked at all the same. */
function listenTo(folder: string, heard: () => void): Pick<FSWatcher, 'close'> {
  try {
    const watcher = watchFolder(folder, { persistent: false }, heard)
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return { close: () => undefined }
  }
}

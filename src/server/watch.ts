import { hash } from 'node:crypto'
import { type FSWatcher, watch as watchFolder } from 'node:fs'
import { readFile, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What files held when they were last read: SHA-256 of their texts; undefined for those that could not be read. */
export type Readings = ReadonlyMap<string, string | undefined>

export interface WatchOptions {
  /** By absolute paths. After `changed` has read the files again, this returns the new readings. */
  readonly readings: () => Readings
  /** Called when one of the files holds something else. Must not reject. */
  readonly changed: () => Promise<unknown>
  /** How often the files are looked at without an event, in milliseconds. Default 5 000. */
  readonly everyMs?: number
  /** Default: by `fs.watch`. */
  readonly watchFolder?: (folder: string, heard: () => void) => Pick<FSWatcher, 'close'>
}

export interface Watch {
  /** To be called when `readings` has changed: compares the files with it, and watches their folders. */
  look(): void
  close(): void
}

const EVERY_MS = 5_000
/** How long to wait for further events, in milliseconds: files are often written in groups. */
const SETTLE_MS = 100

/**
 * Calls `changed` when files hold something else than what was read, however they were replaced: contents are compared.
 * Folders are watched instead of files, because Kubernetes swaps a link beside the files (`..data`), and editors replace
 * files. Where there are no events, as on network file systems, changes are found by polling.
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
    // Taken before the contents are read: what is written in between then changes the next stamp.
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

/** Joins readings. A file that was read with different contents gets a reading that no content has: it is read again. */
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

/** The folders of the files, and those of what they link to. */
async function foldersOf(files: readonly string[]): Promise<readonly string[]> {
  const real = await Promise.all(files.map((file) => realpath(file).catch(() => file)))
  return [...new Set([...files, ...real].map((file) => dirname(file)))].sort()
}

/** Identifies the folders: one that was replaced under its name has to be watched anew. */
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

/** Where a folder cannot be watched, or no longer, polling goes on. */
function listenTo(folder: string, heard: () => void): Pick<FSWatcher, 'close'> {
  try {
    const watcher = watchFolder(folder, { persistent: false }, heard)
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return { close: () => undefined }
  }
}

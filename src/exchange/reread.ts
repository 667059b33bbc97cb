import { readFile, stat } from 'node:fs/promises'
import type { Material } from '../config/config.ts'

/**
 * What is made of a text; of a file's text again when the file changes, which is looked at on each call. Where a file is
 * gone or makes no sense, what was made before still serves: whoever replaces files is not always done at once.
 *
 * @param make rejects a text that makes no sense
 * @returns what rejects only where nothing was made yet
 */
export function reread<Value>(
  material: Material,
  make: (text: string) => Value | Promise<Value>,
): () => Promise<Value> {
  let known: { readonly stamp: string; readonly value: Value } | undefined
  return async () => {
    try {
      // Before the content: a change in between is then seen as one the next time.
      const stamp = 'pem' in material ? '' : await stampOf(material.file)
      if (known?.stamp === stamp) return known.value
      const text = 'pem' in material ? material.pem : await readFile(material.file, 'utf8')
      known = { stamp, value: await make(text) }
      return known.value
    } catch (error) {
      if (known === undefined) throw error
      return known.value
    }
  }
}

/** Kubernetes replaces a folder by a link: another inode, though perhaps the same time and size. */
async function stampOf(file: string): Promise<string> {
  const { dev, ino, size, mtimeMs, ctimeMs } = await stat(file)
  return [dev, ino, size, mtimeMs, ctimeMs].join(' ')
}

/** What is at hand at any time, though it may be read again. */
export interface Current<Value> {
  /** Answers at once, also while a file is looked at: that is done beside, at most once a second. */
  now(): Value
  /** Looks first. */
  fresh(): Promise<Value>
}

const LOOK_EVERY_MS = 1_000

/**
 * @param fresh as `reread` gives it
 * @param first what to begin with; it waits for nothing, since it is called once
 */
export function current<Value>(fresh: () => Promise<Value>, first: () => Value): Current<Value> {
  let known: { readonly value: Value } | undefined
  let lookAt = 0

  async function look(): Promise<Value> {
    const value = await fresh()
    known = { value }
    return value
  }
  return {
    now() {
      known ??= { value: first() }
      const now = Date.now()
      if (now >= lookAt) {
        lookAt = now + LOOK_EVERY_MS
        look().catch(() => undefined)
      }
      return known.value
    },
    fresh: look,
  }
}

import { readFile, stat } from 'node:fs/promises'
import type { Material } from '../config/config.ts'

/**
 * Makes a value from a text. Each call looks whether the file has changed, and makes the value again if so. While the file
 * is missing or invalid the value made before still serves, because files are not always replaced in one step.
 *
 * @param make rejects an invalid text
 * @returns a function that rejects only while no value has been made
 */
export function reread<Value>(
  material: Material,
  make: (text: string) => Value | Promise<Value>,
): () => Promise<Value> {
  let known: { readonly stamp: string; readonly value: Value } | undefined
  return async () => {
    try {
      // Read before the content, so that a change in between is seen on the next call.
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

/** A value that is at hand at any time, and is read again when it has changed. */
export interface Current<Value> {
  /** Returns the value as it was last read. The file is looked at in the background, at most once a second. */
  now(): Value
  /** Looks at the file first. */
  fresh(): Promise<Value>
}

const LOOK_EVERY_MS = 1_000

/**
 * @param fresh as `reread` gives it
 * @param first makes the first value, for `now`. It may block, since it is called at most once
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

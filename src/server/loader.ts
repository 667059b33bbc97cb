import type { Config } from '../config/config.ts'
import type { NoteRead } from '../config/faults.ts'
import { readingOf, type Readings } from './watch.ts'

/** Reads the configuration, and knows what it was read from. */
export interface Loader {
  load(): Promise<Config>
  /** Of the last time that it was read, whatever came of it. */
  readings(): Readings
}

/** @param read reads it, and tells of each file */
export function createLoader(read: (noteRead: NoteRead) => Promise<Config>): Loader {
  let readings: Readings = new Map()
  return {
    async load() {
      const noted = new Map<string, string | undefined>()
      try {
        return await read((file, text) => {
          const reading = text === undefined ? undefined : readingOf(text)
          // One that changed while it was read is one to read again: nothing holds what no text has.
          noted.set(file, noted.has(file) && noted.get(file) !== reading ? '' : reading)
        })
      } finally {
        readings = noted
      }
    },
    readings: () => readings,
  }
}

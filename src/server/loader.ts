import type { Config } from '../config/config.ts'
import type { NoteRead } from '../config/faults.ts'
import { joinReadings, readingOf, type Readings } from './watch.ts'

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
      const noted: Readings[] = []
      try {
        return await read((file, text) => {
          noted.push(new Map([[file, text === undefined ? undefined : readingOf(text)]]))
        })
      } finally {
        readings = joinReadings(noted)
      }
    },
    readings: () => readings,
  }
}

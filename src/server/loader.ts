import type { Config } from '../config/config.ts'
import type { NoteRead } from '../config/faults.ts'
import { joinReadings, readingOf, type Readings } from './watch.ts'

/** Reads the configuration, and remembers the files that it was read from. */
export interface Loader {
  load(): Promise<Config>
  /** The files of the last time that it was read, with or without faults. */
  readings(): Readings
}

/** @param read reads the configuration, and calls back for each file */
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

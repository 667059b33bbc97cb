/** The thread of `loadConfigApart`. */
import { serialize } from 'node:v8'
import { parentPort, workerData } from 'node:worker_threads'
import { ConfigError } from './faults.ts'
import type { Read, Reading } from './load-apart.ts'
import { loadConfig } from './load.ts'

const { file, overrides } = workerData as Reading
const noted: [string, string | undefined][] = []
const noteRead = (name: string, text: string | undefined): void => void noted.push([name, text])

async function read(): Promise<Read['result']> {
  try {
    return { config: await loadConfig(file, { noteRead, ...(overrides && { overrides }) }) }
  } catch (error) {
    if (error instanceof ConfigError) return { faults: error.faults }
    return { reason: error instanceof Error ? error.message : String(error) }
  }
}

const answer: Read = { result: await read(), noted }
// Serialized here, because `postMessage` alone would turn each Buffer, such as a sealing key, into a plain Uint8Array.
const bytes = serialize(answer)
parentPort?.postMessage(bytes)

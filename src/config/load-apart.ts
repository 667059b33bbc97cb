import { once } from 'node:events'
import { deserialize } from 'node:v8'
import { Worker } from 'node:worker_threads'
import type { Config } from './config.ts'
import { ConfigError, type Fault } from './faults.ts'
import type { LoadOptions } from './load.ts'

/** The thread's input. */
export interface Reading {
  readonly file: string
  readonly overrides: LoadOptions['overrides']
}

/** The thread's result. */
export interface Read {
  readonly noted: readonly (readonly [file: string, text: string | undefined])[]
  readonly result:
    | { readonly config: Config }
    | { readonly faults: readonly Fault[] }
    | { readonly reason: string }
}

/**
 * As `loadConfig`, on a thread of its own. Ten thousand routes take seconds to read; on the main thread all requests would
 * wait meanwhile, and some would time out.
 *
 * @throws {ConfigError} with every fault
 */
export async function loadConfigApart(
  file: string,
  { overrides, noteRead = () => undefined }: Pick<LoadOptions, 'overrides' | 'noteRead'> = {},
): Promise<Config> {
  const workerData: Reading = { file, overrides }
  const thread = new Worker(new URL('./reader.js', import.meta.url), { workerData })
  // The process may end while the thread still reads.
  thread.unref()
  const [bytes] = (await Promise.race([once(thread, 'message'), ended(thread)])) as [Uint8Array]
  const { noted, result } = deserialize(bytes) as Read
  for (const [name, text] of noted) noteRead(name, text)
  if ('config' in result) return result.config
  throw 'faults' in result ? new ConfigError(result.faults) : new Error(result.reason)
}

async function ended(thread: Worker): Promise<never> {
  await once(thread, 'exit')
  throw new Error('the configuration could not be read to its end')
}

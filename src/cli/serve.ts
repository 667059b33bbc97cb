import { loadConfigApart } from '../config/load-apart.ts'
import { loadConfig } from '../config/load.ts'
import { createLog, LEVELS, type Level } from '../log.ts'
import { tellDefects } from '../server/defects.ts'
import { createLoader } from '../server/loader.ts'
import { serve, type Serving } from '../server/serve.ts'
import { watchFiles } from '../server/watch.ts'
import type { serveByWorkers } from '../server/workers.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { hangingUp, signalled, signalledAgain } from './signals.ts'

/** SIGHUP reloads. SIGTERM and SIGINT drain; a second one ends it at once. */
export const command = defineCommand({
  summary: 'Run the gateway until SIGTERM or SIGINT; SIGHUP reloads the configuration.',
  flags: {
    'log-level': {
      type: 'string',
      value: 'LEVEL',
      summary: `${LEVELS.join(', ')} (default info)`,
    },
    watch: {
      type: 'boolean',
      summary: 'reload the configuration when one of its files changes',
    },
    workers: {
      type: 'string',
      value: 'N|auto',
      summary: 'processes, in place of `server.workers`; auto: one per core',
    },
  },
  async run({ config: file, flags }) {
    const level = levelOf(flags['log-level'] ?? 'info')
    const log = createLog({ level })
    tellDefects(log)
    const hangups = hangingUp()
    const overrides = { ...(flags.workers && { 'server.workers': workersOf(flags.workers) }) }
    let read = loadConfig
    const { load, readings } = createLoader((noteRead) => read(file, { overrides, noteRead }))
    const config = await load()
    // Reloads read the configuration apart, because requests would wait for it.
    read = loadConfigApart
    const serving: Running =
      config.server.workers === 1
        ? await serve(config, { log, load })
        : await byWorkers(config, { log, level, load })
    hangups.tell(() => void serving.reload())
    const watch = flags.watch && watchFiles({ readings, changed: () => serving.reload() })
    const signal = await Promise.race([signalled(), serving.hopeless ?? forever])
    if (signal === undefined) {
      await serving.close()
      return EXIT.failed
    }
    if (watch) watch.close()
    log.logger.info({ signal }, 'ending')
    void signalledAgain().then((second) => {
      log.logger.warn({ signal: second }, 'ending at once')
      log.flush()
      process.exit(EXIT.failed)
    })
    await serving.drain()
    return EXIT.well
  },
})

type Running = Pick<Serving, 'reload' | 'drain' | 'close'> & { readonly hopeless?: Promise<void> }

/** Loaded only for several processes. */
async function byWorkers(...given: Parameters<typeof serveByWorkers>): Promise<Running> {
  const workers = await import('../server/workers.ts')
  return workers.serveByWorkers(...given)
}

const forever = new Promise<never>(() => undefined)

function workersOf(text: string): string {
  if (/^(?:auto|[1-9]\d{0,2})$/.test(text)) return text
  throw new UsageError('--workers must be a whole number, or auto')
}

function levelOf(text: string): Level {
  const level = LEVELS.find((known) => known === text)
  if (level === undefined) throw new UsageError(`--log-level must be ${LEVELS.join(', ')}`)
  return level
}

import { loadConfig } from '../config/load.ts'
import { createLog, LEVELS, type Level } from '../log.ts'
import { serve } from '../server/serve.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'

/** SIGTERM and SIGINT drain; a second one ends it at once. */
export const command = defineCommand({
  summary: 'Run the gateway until SIGTERM or SIGINT.',
  flags: {
    'log-level': {
      type: 'string',
      value: LEVELS.join(' | '),
      summary: 'what is logged (default info)',
    },
  },
  async run({ config: file, flags }) {
    const log = createLog({ level: levelOf(flags['log-level'] ?? 'info') })
    const serving = await serve(await loadConfig(file), { log })
    const signal = await ended()
    log.logger.info({ signal }, 'ending')
    void ended().then((second) => {
      log.logger.warn({ signal: second }, 'ending at once')
      log.flush()
      process.exit(EXIT.failed)
    })
    await serving.drain()
    return EXIT.well
  },
})

function levelOf(text: string): Level {
  const level = LEVELS.find((known) => known === text)
  if (level === undefined) throw new UsageError(`--log-level must be ${LEVELS.join(', ')}`)
  return level
}

function ended(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals): void => {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal)
      resolve(signal)
    }
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  })
}

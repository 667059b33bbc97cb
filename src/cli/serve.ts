import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { createLog, LEVELS, type Level } from '../log.ts'
import { serve } from '../server/serve.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { signalled, signalledAgain } from './signals.ts'

/** SIGTERM and SIGINT drain; a second one ends it at once. */
export const command = defineCommand({
  summary: 'Run the gateway until SIGTERM or SIGINT.',
  flags: {
    'log-level': {
      type: 'string',
      value: 'LEVEL',
      summary: `${LEVELS.join(', ')} (default info)`,
    },
  },
  async run({ config: file, flags }) {
    const log = createLog({ level: levelOf(flags['log-level'] ?? 'info') })
    const load = (): Promise<Config> => loadConfig(file)
    const serving = await serve(await load(), { log, load })
    const signal = await signalled()
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

function levelOf(text: string): Level {
  const level = LEVELS.find((known) => known === text)
  if (level === undefined) throw new UsageError(`--log-level must be ${LEVELS.join(', ')}`)
  return level
}

import type { Log } from '../log.ts'

/**
 * Ends the process at an uncaught exception, as Node would, but writes only what a log may hold: Node prints every property
 * of an error and of its causes, among them whole answers of issuers.
 */
export function tellDefects({ logger, flush }: Log): void {
  process.on('uncaughtException', (error) => {
    logger.fatal({ error }, 'ending: a defect')
    flush()
    process.exit(1)
  })
}

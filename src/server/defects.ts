import type { Log } from '../log.ts'

/**
 * Has a defect that nobody caught end the process, as Node would, and say no more of it than a log may hold: Node prints all
 * that hangs on an error and on its causes, whole answers of issuers among it.
 */
export function tellDefects({ logger, flush }: Log): void {
  process.on('uncaughtException', (error) => {
    logger.fatal({ error }, 'ending: a defect')
    flush()
    process.exit(1)
  })
}

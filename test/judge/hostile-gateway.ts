/** A gateway in a process of its own that tells its parent, whenever it is asked, what it has used and what it still holds. */
import { readConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/log.ts'
import { serve } from '../../src/server/serve.ts'

export interface Held {
  /** User and system time, in microseconds. */
  readonly cpu: number
  readonly sockets: number
  /** Timers that keep the process alive, and those that do not. */
  readonly timers: number
  /** Requests whose path has not ended: each is a promise that somebody waits for. */
  readonly inFlight: number
}

const [configuration] = process.argv.slice(2)
if (configuration === undefined) throw new TypeError('usage: hostile-gateway.js CONFIGURATION')
const serving = await serve(readConfig(JSON.parse(configuration) as object), { log: createLog() })

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  const resources = process.getActiveResourcesInfo()
  const count = (name: string): number => resources.filter((one) => one === name).length
  const inFlight = /^behalf_requests_in_flight (\d+)$/m.exec(serving.metrics.render())?.[1]
  const held: Held = {
    cpu: user + system,
    sockets: count('TCPSocketWrap'),
    timers: count('Timeout'),
    inFlight: Number(inFlight),
  }
  process.send?.(held)
})
process.on('disconnect', () => process.exit(0))
process.send?.(serving.origin)

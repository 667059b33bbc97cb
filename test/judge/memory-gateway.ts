/** A gateway in a process of its own that tells its parent what memory it holds, whenever it is asked. */
import { readConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/log.ts'
import { serve } from '../../src/server/serve.ts'
import { resident } from '../proxy/bodies.ts'

/** In bytes. */
export interface Memory {
  /** After everything that can be freed has been. */
  readonly resident: number
  /** The most that it ever was. */
  readonly peak: number
}

const [configuration] = process.argv.slice(2)
if (configuration === undefined) throw new TypeError('usage: memory-gateway.js CONFIGURATION')
const serving = await serve(readConfig(JSON.parse(configuration) as object), { log: createLog() })

process.on('message', () => {
  void resident().then((bytes) => {
    const memory: Memory = { resident: bytes, peak: process.resourceUsage().maxRSS * 1_024 }
    process.send?.(memory)
  })
})
process.on('disconnect', () => process.exit(0))
process.send?.(serving.origin)

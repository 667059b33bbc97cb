/** The gateway as `serve` runs it, with everything on: access lines (to /dev/null), metrics, Express. */
import { readConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/log.ts'
import { serve } from '../../src/server/serve.ts'
import { reportUsage } from './usage.ts'

const [configuration] = process.argv.slice(2)
if (configuration === undefined) throw new TypeError('usage: gateway.js CONFIGURATION_AS_JSON')
const config = readConfig(JSON.parse(configuration) as object)
const serving = await serve(config, { log: createLog() })
reportUsage(serving.origin)

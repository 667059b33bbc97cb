/** A gateway in a process of its own, with an upstream beside it that tells the claims of the token that reached it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { readConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/log.ts'
import { serve } from '../../src/server/serve.ts'
import { oneRoute, startUpstream, type Setting } from '../system.ts'

/** What each replica is told. */
export interface ReplicaSetting extends Omit<Setting, 'upstream'> {
  readonly redis: object
  /** Of the issuer. Default: none. */
  readonly budget?: object
  /** Default 1. */
  readonly replicas?: number
}

const [text] = process.argv.slice(2)
if (text === undefined) throw new TypeError('usage: replica.js SETTING')
const { redis, budget, replicas = 1, ...setting } = JSON.parse(text) as ReplicaSetting
const upstream = await startUpstream({ after: () => undefined })
const { issuer, profile = 'rfc8693' } = setting
const config = readConfig({
  ...oneRoute({ ...setting, upstream: upstream.origin }),
  issuers: { tenant: { issuer, profile, ...(budget !== undefined && { budget }) } },
  // What is judged is who exchanges, not who is let in.
  server: { listen: '127.0.0.1:0', replicas, limits: { loopDelay: '1m' } },
  admin: { listen: '127.0.0.1:0' },
  cache: { redis },
})
const { origin, metrics } = await serve(config, { log: createLog({ level: 'silent' }) })
// On a busy machine Redis may be there later than a start waits for it, and what is judged begins then.
for (let tries = 0; tries < 3_000; tries++) {
  if (metrics.render().includes('\nbehalf_redis_up 1\n')) break
  await sleep(10)
}

process.on('disconnect', () => process.exit(0))
process.send?.(origin)

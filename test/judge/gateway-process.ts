import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { oneRoute, type Scope } from '../system.ts'
import type { Memory } from './memory-gateway.ts'
import type { Issuing } from './setting.ts'

/** A gateway in a process of its own. */
export interface GatewayProcess {
  readonly origin: string
  memory(): Promise<Memory>
}

export interface GatewayProcessOptions {
  readonly upstream: string
  /** Beside the upstream. */
  readonly proxy?: object
  readonly tls?: { readonly certificate: string; readonly key: string }
}

/** One route, `/orders`, with a budget that never stands in the way. */
export async function startGatewayProcess(
  scope: Scope,
  { url, profile, client }: Issuing,
  { upstream, proxy, tls }: GatewayProcessOptions,
): Promise<GatewayProcess> {
  const configuration = {
    ...oneRoute({ issuer: url, upstream, client, ...(proxy && { proxy }) }),
    issuers: { tenant: { issuer: url, profile, budget: { rate: 10_000, burst: 10_000 } } },
    server: { listen: '127.0.0.1:0', ...(tls && { tls }) },
    admin: { listen: '127.0.0.1:0' },
  }
  const [origin, child] = await startProcess(
    scope,
    'memory-gateway.js',
    JSON.stringify(configuration),
  )
  return {
    origin: String(origin),
    async memory() {
      child.send('memory')
      const [told] = (await once(child, 'message')) as [Memory]
      return told
    },
  }
}

/** What V8 takes for young objects, and keeps, says nothing about what is left behind: here it is little from the start. */
const MEASURED = ['--expose-gc', '--max-semi-space-size=2']

/** Starts a script, by its path from here. What it told first, and the process. */
export async function startProcess(
  scope: Scope,
  script: string,
  ...arguments_: string[]
): Promise<readonly [told: unknown, process: ChildProcess]> {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), arguments_, {
    execArgv: MEASURED,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  scope.after(() => child.kill())
  const [told] = (await once(child, 'message')) as [unknown]
  return [told, child]
}

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { digestOf, MIB, plateau, roundTrip } from '../proxy/bodies.ts'
import type { Scope } from '../system.ts'
import { Faults, type Finding, type Load } from './load.ts'
import type { Memory } from './memory-gateway.ts'
import { startTenant, throughIssuer } from './setting.ts'

const SMALL = 64 * MIB
const LARGE = 1_024 * MIB
const MOST_GROWTH = 32 * MIB

/** The gateway and the upstream each in a process of its own; the caller and the tenant in this one. */
export const memory: Load = {
  name: 'memory',
  claim: '1 GiB up and 1 GiB down leave less than 32 MiB more behind than 64 MiB do',
  limitMs: 10 * 60_000,
  async judge(scope) {
    const faults = new Faults()
    const tenant = await startTenant(scope)
    const [port] = await start(scope, '../proxy/large-upstream.js')
    const configuration = throughIssuer(tenant, `http://127.0.0.1:${String(port)}`)
    const [origin, gateway] = await start(
      scope,
      'memory-gateway.js',
      JSON.stringify({
        server: { listen: '127.0.0.1:0' },
        admin: { listen: '127.0.0.1:0' },
        ...configuration,
      }),
    )
    const headers = { authorization: `Bearer ${await tenant.newToken('user-1')}` }
    const send = async (up: number, down: number, sized: boolean): Promise<Memory> => {
      await roundTrip({ origin: String(origin), up, down, sized, headers })
      return ask(gateway)
    }

    let sized = false
    const small = await plateau(
      () => send(SMALL, SMALL, (sized = !sized)),
      async () => (await ask(gateway)).resident,
    )
    const counts: Record<string, string> = { 'after 64 MiB': inMiB(small) }
    for (const withLength of [false, true]) {
      for (const [way, up, down] of [
        ['up', LARGE, 0],
        ['down', 0, LARGE],
      ] as const) {
        const { resident } = await send(up, down, withLength)
        const name = `1 GiB ${way}, ${withLength ? 'Content-Length' : 'chunked'}`
        counts[name] = inMiB(resident - small)
        if (resident - small >= MOST_GROWTH) faults.add(`${name}: ${inMiB(resident - small)} more`)
      }
    }
    counts['peak'] = inMiB((await ask(gateway)).peak)
    counts['sha256 of 1 GiB'] = `${digestOf(LARGE).slice(0, 16)}, as sent`
    return { counts, faults: faults.told } satisfies Finding
  },
}

/** What it told first, and the process. */
async function start(
  scope: Scope,
  script: string,
  ...arguments_: string[]
): Promise<readonly [unknown, ChildProcess]> {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), arguments_, {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  scope.after(() => child.kill())
  const [told] = (await once(child, 'message')) as [unknown]
  return [told, child]
}

async function ask(gateway: ChildProcess): Promise<Memory> {
  gateway.send('memory')
  const [told] = (await once(gateway, 'message')) as [Memory]
  return told
}

function inMiB(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`
}

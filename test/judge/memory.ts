import http2 from 'node:http2'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import {
  digestOf,
  MIB,
  plateau,
  roundTrip,
  roundTripByHttp2,
  type RoundTrip,
} from '../proxy/bodies.ts'
import type { Scope } from '../system.ts'
import { startGatewayProcess, startProcess } from './gateway-process.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { startTenant, type Issuing } from './setting.ts'

const MOST_GROWTH = 32 * MIB

export interface MemorySize {
  /** Of the bodies before and of those that are judged, in bytes. */
  readonly small: number
  readonly large: number
  /** How the caller and the upstream speak. Default: each, with a gateway of its own. */
  readonly versions?: readonly ('HTTP/1.1' | 'HTTP/2')[]
}

/** The gateway and the upstream each in a process of its own; the caller and the tenant in this one. */
export const memory: Load = {
  name: 'memory',
  claim:
    '1 GiB up and 1 GiB down, by HTTP/1.1 and by HTTP/2, leave less than 32 MiB more behind than 64 MiB do',
  limitMs: 10 * 60_000,
  judge: (scope) => judgeMemory(scope, { small: 64 * MIB, large: 1_024 * MIB }),
}

export async function judgeMemory(scope: Scope, size: MemorySize): Promise<Finding> {
  const faults = new Faults()
  const counts: Record<string, string> = {}
  const { versions = ['HTTP/1.1', 'HTTP/2'] } = size
  const tenant = await startTenant(scope)
  for (const version of versions) {
    const speak = version === 'HTTP/2' ? speakHttp2 : speakHttp1
    if (version === 'HTTP/2' && NO_OPENSSL !== false) counts[version] = NO_OPENSSL
    else await judgeVersion(size, await speak(scope, tenant), counts, faults)
  }
  counts[`sha256 of ${inMiB(size.large)}`] = `${digestOf(size.large).slice(0, 16)}, as sent`
  return { counts, faults: faults.told }
}

/** How a version of HTTP is spoken, on both sides of a gateway of its own. */
interface Spoken {
  readonly version: string
  send(trip: Pick<RoundTrip, 'up' | 'down' | 'sized'>): Promise<void>
  readonly memory: () => Promise<{ readonly resident: number; readonly peak: number }>
}

async function speakHttp1(scope: Scope, tenant: Issuing): Promise<Spoken> {
  const [port] = await startProcess(scope, '../proxy/large-upstream.js')
  const upstream = `http://127.0.0.1:${String(port)}`
  const { origin, memory } = await startGatewayProcess(scope, tenant, { upstream })
  const headers = { authorization: `Bearer ${await tenant.newToken('user-1')}` }
  return { version: 'HTTP/1.1', send: (trip) => roundTrip({ origin, headers, ...trip }), memory }
}

async function speakHttp2(scope: Scope, tenant: Issuing): Promise<Spoken> {
  const authority = createAuthority()
  const { certificate, key } = authority.issue('gateway')
  const [port] = await startProcess(scope, '../proxy/large-upstream.js', 'http2')
  const { origin, memory } = await startGatewayProcess(scope, tenant, {
    upstream: `http://127.0.0.1:${String(port)}`,
    proxy: { http2: true },
    tls: { certificate, key },
  })
  const session = http2.connect(origin, { ca: authority.certificate })
  scope.after(() => session.destroy())
  const headers = { authorization: `Bearer ${await tenant.newToken('user-1')}` }
  return {
    version: 'HTTP/2',
    send: (trip) => roundTripByHttp2({ session, headers, ...trip }),
    memory,
  }
}

async function judgeVersion(
  { small, large }: MemorySize,
  { version, send, memory }: Spoken,
  counts: Record<string, string>,
  faults: Faults,
): Promise<void> {
  let sized = false
  const before = await plateau(
    () => send({ up: small, down: small, sized: (sized = !sized) }),
    async () => (await memory()).resident,
  )
  counts[`${version}, after ${inMiB(small)}`] = inMiB(before)
  for (const withLength of [false, true]) {
    for (const [way, up, down] of [
      ['up', large, 0],
      ['down', 0, large],
    ] as const) {
      await send({ up, down, sized: withLength })
      const growth = (await memory()).resident - before
      const name = `${version}, ${inMiB(large)} ${way}, ${withLength ? 'with its length' : 'without'}`
      counts[name] = `${inMiB(growth)} more`
      if (growth >= MOST_GROWTH) faults.add(`${name}: ${inMiB(growth)} more`)
    }
  }
  counts[`${version}, peak`] = inMiB((await memory()).peak)
}

function inMiB(bytes: number): string {
  return `${(bytes / MIB).toFixed(bytes % MIB === 0 ? 0 : 1)} MiB`
}

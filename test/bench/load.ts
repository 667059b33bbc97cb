import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Pool } from 'undici'

export interface LoadResult {
  readonly requests: number
  readonly failed: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface Load {
  readonly name: string
  run(url: string, token: string, seconds: number): Promise<LoadResult>
}

export const CONNECTIONS = 32

/** wrk where it is installed, else a generator of our own. */
export async function findLoad(): Promise<Load> {
  try {
    await promisify(execFile)('which', ['wrk'])
    return { name: `wrk -t1 -c${CONNECTIONS}`, run: runWrk }
  } catch {
    return {
      name: `built-in generator, ${CONNECTIONS} connections (wrk is not installed)`,
      run: runOwn,
    }
  }
}

async function runWrk(url: string, token: string, seconds: number): Promise<LoadResult> {
  const { stdout } = await promisify(execFile)('wrk', [
    ...['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '--latency'],
    ...['-H', `Authorization: Bearer ${token}`, url],
  ])
  const figure = (pattern: RegExp): string | undefined => pattern.exec(stdout)?.[1]
  return {
    requests: Number(figure(/(\d+) requests in/)),
    failed: Number(figure(/Non-2xx or 3xx responses: (\d+)/) ?? 0),
    perSecond: Number(figure(/Requests\/sec:\s+([\d.]+)/)),
    p50Ms: milliseconds(figure(/^ +50% +(\S+)/m)),
    p99Ms: milliseconds(figure(/^ +99% +(\S+)/m)),
  }
}

function milliseconds(text = ''): number {
  const [, value, unit] = /^([\d.]+)(us|ms|s)$/.exec(text) ?? []
  return Number(value) * (unit === 'us' ? 0.001 : unit === 's' ? 1_000 : 1)
}

async function runOwn(url: string, token: string, seconds: number): Promise<LoadResult> {
  const { origin, pathname } = new URL(url)
  const pool = new Pool(origin, { connections: CONNECTIONS, pipelining: 1 })
  const latencies: number[] = []
  let failed = 0
  const startedAt = performance.now()
  const end = startedAt + seconds * 1_000
  async function caller(): Promise<void> {
    while (performance.now() < end) {
      const sentAt = performance.now()
      const { statusCode, body } = await pool.request({
        path: pathname,
        method: 'GET',
        headers: { authorization: `Bearer ${token}` },
      })
      await body.dump()
      if (statusCode !== 200) failed++
      latencies.push(performance.now() - sentAt)
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, caller))
  await pool.close()
  latencies.sort((one, other) => one - other)
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0
  return {
    requests: latencies.length,
    failed,
    perSecond: latencies.length / ((performance.now() - startedAt) / 1_000),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  }
}

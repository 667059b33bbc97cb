import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { MIB, plateau } from '../proxy/bodies.ts'
import { bearer, listen, type Scope } from '../system.ts'
import { startGatewayProcess } from './gateway-process.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { startTenant } from './setting.ts'

const MOST_GROWTH = 32 * MIB

export interface EventsSize {
  /** Streams at once. */
  readonly streams: number
  /** Of each stream, and how long its upstream rests between two of them, in milliseconds. */
  readonly events: number
  readonly everyMs: number
}

/** The gateway in a process of its own; both ends, and the tenant, in this one. */
export const events: Load = {
  name: 'events',
  claim:
    'for a minute, each Server-Sent Event of 50 streams has come before the next is sent, in flat memory',
  limitMs: 10 * 60_000,
  judge: (scope) => judgeEvents(scope, { streams: 50, events: 1_200, everyMs: 50 }),
}

/**
 * The next event is not sent until the caller has the one before it: what holds an event back, for more of them or for a
 * while, is found without a clock.
 */
export async function judgeEvents(scope: Scope, size: EventsSize): Promise<Finding> {
  const faults = new Faults()
  const tenant = await startTenant(scope)
  const source = await startSource(scope)
  const { origin, memory } = await startGatewayProcess(scope, tenant, { upstream: source.origin })
  const token = await tenant.newToken('user-1')
  let streams = 0
  const stream = (length: Pick<EventsSize, 'events' | 'everyMs'>): Promise<boolean> =>
    source.follow(`${origin}/orders/${streams++}`, bearer(token), length)
  const all = (length: Pick<EventsSize, 'events' | 'everyMs'>): Promise<boolean[]> =>
    Promise.all(Array.from({ length: size.streams }, () => stream(length)))

  const resident = async (): Promise<number> => (await memory()).resident
  // Some of it first: what a process needs to do it at all.
  const before = await plateau(() => all({ events: 20, everyMs: 0 }), resident)
  const startedAt = performance.now()
  const whole = await all(size)
  const seconds = (performance.now() - startedAt) / 1_000
  const growth = (await resident()) - before
  for (const isWhole of whole) if (!isWhole) faults.add('a stream did not come as it was sent')
  if (growth >= MOST_GROWTH) faults.add(`${(growth / MIB).toFixed(1)} MiB more`)
  return {
    counts: {
      streams: size.streams,
      events: size.streams * size.events,
      lasted: `${seconds.toFixed(1)} s`,
      'left behind': `${(growth / MIB).toFixed(1)} MiB`,
    },
    faults: faults.told,
  }
}

interface Source {
  readonly origin: string
  /** Whether each event of a stream came by itself, and the end after the last. */
  follow(
    url: string,
    options: http.RequestOptions,
    length: Pick<EventsSize, 'events' | 'everyMs'>,
  ): Promise<boolean>
}

/** Sends an event of a stream when it is told to, and ends it likewise. */
async function startSource(scope: Scope): Promise<Source> {
  const asked = new Map<string, (response: http.ServerResponse) => void>()
  const server = http.createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    asked.get(request.url ?? '')?.(response)
  })
  const origin = await listen(scope, server)

  async function follow(
    url: string,
    options: http.RequestOptions,
    { events, everyMs }: Pick<EventsSize, 'events' | 'everyMs'>,
  ): Promise<boolean> {
    const { pathname } = new URL(url)
    const started = new Promise<http.ServerResponse>((resolve) => asked.set(pathname, resolve))
    const request = http.get(url, { ...options, agent: false })
    const response = await started
    // Nothing has been sent yet, and the caller hears all the same that the stream has begun.
    response.flushHeaders()
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    answer.setEncoding('utf8')
    let text = ''
    let came = (): void => undefined
    answer.on('data', (piece: string) => {
      text += piece
      came()
    })
    for (let index = 0; index < events; index++) {
      const event = `id: ${index}\ndata: ${'x'.repeat(index % 500)}\n\n`
      response.write(event)
      while (text.length < event.length) await new Promise<void>((resolve) => (came = resolve))
      if (text !== event) return false
      text = ''
      if (everyMs > 0) await sleep(everyMs)
    }
    const ended = once(answer, 'end')
    response.end()
    await ended
    asked.delete(pathname)
    return text === ''
  }

  return { origin, follow }
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { createCluster } from '@redis/client'
import {
  answered,
  type Client,
  clientOptions,
  type ClientOptions,
  type TcpAddress,
  silence,
} from './client.ts'
import type { Link, Reply } from './link.ts'

type Cluster = ReturnType<typeof createCluster>

/** How long opening waits for all masters, in milliseconds. After that the masters that are there are used. */
const WHOLE_MS = 1_000
const LOOK_EVERY_MS = 250
/** How long a master may be gone before the link ends, in milliseconds: by then another replaces it, or none will. */
const GONE_MS = 4_000
const REDIRECTIONS = 3
const RECONNECT_MS = 500
const SLOTS = 16_384

/**
 * Opens a link to a Cluster: each command goes to the master that has its key's slot, and fails at once if that is gone.
 *
 * @param looked called every 250 ms, to look at the state of the link
 * @throws where none of the nodes can be reached
 */
export async function openCluster(
  nodes: readonly TcpAddress[],
  options: ClientOptions,
  looked: () => void,
): Promise<Link> {
  const cluster = await connected(nodes, options)
  const masters = (): readonly Client[] =>
    cluster.masters.flatMap(({ client }) => (client ? [client as unknown as Client] : []))
  const isWhole = (): boolean =>
    cluster.masters.length > 0 && cluster.masters.every(({ client }) => client?.isReady === true)
  await whole(cluster, isWhole)
  const { silent, stop } = silence(masters)
  const watching = watch(cluster, isWhole, looked)
  const destroy = (): void => {
    stop()
    watching.stop()
    if (cluster.isOpen) cluster.destroy()
  }
  return {
    get isReady() {
      return masters().some(({ isReady }) => isReady)
    },
    get isWhole() {
      return isWhole()
    },
    async send(key, words) {
      const master = cluster.slots[slotOf(key)]?.master
      if (master?.client?.isReady !== true) throw new Error('the master of the slot is not there')
      return cluster.sendCommand<Reply>(key, false, [...words])
    },
    ended: Promise.race([silent, watching.gone]),
    async close() {
      if (cluster.isOpen) await cluster.close()
    },
    destroy,
  }
}

async function connected(nodes: readonly TcpAddress[], options: ClientOptions): Promise<Cluster> {
  const { createCluster: create } = await import('@redis/client')
  const { commandOptions, RESP, socket, ...rest } = await clientOptions(options)
  const reconnectStrategy = (): number => RECONNECT_MS * (0.5 + Math.random() / 2)
  const cluster = create({
    commandOptions,
    RESP,
    rootNodes: nodes.map((address) => ({ socket: address })),
    defaults: { ...rest, socket: { ...socket, reconnectStrategy } },
    // Without it the library connects to all masters first, and one that is gone would keep the others from being used.
    minimizeConnections: true,
    maxCommandRedirections: REDIRECTIONS,
    topologyRefreshOnReconnectionAttemptStrategy: RECONNECT_MS,
  }) as unknown as Cluster
  // A connection that is lost later is noticed by `watch`.
  let reason: unknown
  cluster.on('error', (error: unknown) => (reason = error))
  try {
    await answered(cluster.connect(), options.signal)
  } catch (error) {
    if (cluster.isOpen) cluster.destroy()
    throw reason ?? error
  }
  return cluster
}

/** Connects to masters that have had no command yet, so that the first command does not have to wait. */
function warm(cluster: Cluster): void {
  for (const master of cluster.masters) {
    if (master.client === undefined) cluster.nodeClient(master).catch(() => undefined)
  }
}

async function whole(cluster: Cluster, isWhole: () => boolean): Promise<void> {
  const until = performance.now() + WHOLE_MS
  warm(cluster)
  while (!isWhole() && performance.now() < until) await sleep(5)
}

function watch(
  cluster: Cluster,
  isWhole: () => boolean,
  looked: () => void,
): { readonly gone: Promise<Error>; readonly stop: () => void } {
  let timer: NodeJS.Timeout | undefined
  let since: number | undefined
  const gone = new Promise<Error>((resolve) => {
    timer = setInterval(() => {
      warm(cluster)
      looked()
      if (isWhole()) since = undefined
      else since ??= performance.now()
      if (since !== undefined && performance.now() - since > GONE_MS) {
        resolve(new Error('a master of the Cluster is gone'))
      }
    }, LOOK_EVERY_MS)
    timer.unref()
  })
  return { gone, stop: () => clearInterval(timer) }
}

/** By the Cluster's specification: CRC16 (XMODEM) of the key, or of the text in its first braces, modulo 16 384. */
export function slotOf(key: string): number {
  const open = key.indexOf('{')
  const close = open < 0 ? -1 : key.indexOf('}', open + 1)
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key
  let crc = 0
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
    crc &= 0xffff
  }
  return crc % SLOTS
}

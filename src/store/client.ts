import { readFile } from 'node:fs/promises'
import type { createClient } from '@redis/client'

export interface TcpAddress {
  readonly host: string
  readonly port: number
}

export type RedisAddress = TcpAddress | { readonly path: string }

/** PEM as it is, or in a file that is read again for each connection. */
type Material = { readonly pem: string } | { readonly file: string }

export interface RedisTls {
  /** Who may have signed the server's certificate. Undefined: the authorities that Node brings. */
  readonly authorities: Material | undefined
  /** The certificate that the server is shown. Undefined: none. */
  readonly identity: { readonly certificate: Material; readonly key: Material } | undefined
  /** The name that the server's certificate must be for. Undefined: the host. */
  readonly serverName: string | undefined
}

export interface ClientOptions {
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly database?: number | undefined
  readonly tls?: RedisTls | undefined
  readonly resp?: 2 | 3 | undefined
  /** Aborted to end an attempt to connect. */
  readonly signal?: AbortSignal | undefined
}

export type Client = ReturnType<typeof createClient>

/** How long a server may take to accept a connection and answer on it, in milliseconds. */
const CONNECT_MS = 2_000
/** The most commands that may wait for an answer. Beyond that a command fails at once. */
const QUEUE = 20_000
/** How often a server is pinged, in milliseconds, and after how many intervals without an answer it is gone. */
const PING_EVERY_MS = 1_000
const SILENT = 3

/** The options of all clients of the library. With them it sends no command that `COMMANDS` does not name. */
export async function clientOptions({ user, password, database, tls, resp = 3 }: ClientOptions) {
  const { RESP_TYPES } = await import('@redis/client')
  return {
    RESP: resp,
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && database !== 0 && { database }),
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    // Without a connection a command fails at once.
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled' as const,
    commandsQueueMaxLength: QUEUE,
    socket: {
      connectTimeout: CONNECT_MS,
      ...(tls !== undefined && (await secured(tls))),
    },
  }
}

async function secured({ authorities, identity, serverName }: RedisTls) {
  return {
    tls: true as const,
    minVersion: 'TLSv1.2' as const,
    ...(authorities && { ca: await textOf(authorities) }),
    ...(identity && {
      cert: await textOf(identity.certificate),
      key: await textOf(identity.key),
    }),
    ...(serverName !== undefined && { servername: serverName }),
  }
}

async function textOf(material: Material): Promise<string> {
  return 'pem' in material ? material.pem : readFile(material.file, 'utf8')
}

/**
 * Connects once. `lost` resolves with the first error of the connection.
 *
 * @throws the reason why there is no connection
 */
export async function connectClient(
  address: RedisAddress,
  options: ClientOptions,
): Promise<{ readonly client: Client; readonly lost: Promise<unknown> }> {
  const { createClient: create } = await import('@redis/client')
  const { socket, ...rest } = await clientOptions(options)
  const client = create({
    ...rest,
    socket: { ...socket, ...address, reconnectStrategy: false },
  }) as unknown as Client
  const lost = new Promise<unknown>((resolve) => client.on('error', resolve))
  try {
    await answered(client.connect(), options.signal)
  } catch (error) {
    end(client)
    throw error
  }
  return { client, lost }
}

/**
 * Waits for a connection, for 2 s at most: a server may accept connections and say nothing, and the library would wait.
 *
 * @throws the connection's own error, or an `Error` where it takes too long or the signal is aborted
 */
export async function answered(connecting: Promise<unknown>, signal?: AbortSignal): Promise<void> {
  connecting.catch(() => undefined)
  const tooLong = AbortSignal.timeout(CONNECT_MS)
  const over = signal === undefined ? tooLong : AbortSignal.any([signal, tooLong])
  over.throwIfAborted()
  let stop = (): void => undefined
  const ended = new Promise<never>((_resolve, reject) => {
    stop = () => reject(new Error('the server does not answer', { cause: over.reason }))
    over.addEventListener('abort', stop)
  })
  try {
    await Promise.race([connecting, ended])
  } finally {
    over.removeEventListener('abort', stop)
  }
}

export function end(client: Client): void {
  if (client.isOpen) client.destroy()
}

/**
 * Resolves when a server does not answer any more: a network that swallows packets ends no connection. Intervals are counted
 * instead of time, because a process that was busy itself has not read the answers that came.
 *
 * @returns also a function that ends the pings
 */
export function silence(clients: () => readonly Client[]): {
  readonly silent: Promise<Error>
  readonly stop: () => void
} {
  let timer: NodeJS.Timeout | undefined
  const looked = new Map<Client, number>()
  const silent = new Promise<Error>((resolve) => {
    timer = setInterval(() => {
      for (const client of clients()) {
        const times = looked.get(client)
        if (times === undefined && client.isReady) {
          looked.set(client, 0)
          const heard = (): boolean => looked.delete(client)
          client.sendCommand(['PING']).then(heard, heard)
        } else if (times !== undefined) {
          looked.set(client, times + 1)
          if (times + 1 >= SILENT) resolve(new Error('nothing is heard'))
        }
      }
    }, PING_EVERY_MS)
    timer.unref()
  })
  return { silent, stop: () => clearInterval(timer) }
}

import { readFile } from 'node:fs/promises'
import type { createClient } from '@redis/client'

export interface TcpAddress {
  readonly host: string
  readonly port: number
}

export type RedisAddress = TcpAddress | { readonly path: string }

/** As it is, or in a file that is read again for each connection. */
type Material = { readonly pem: string } | { readonly file: string }

export interface RedisTls {
  /** Undefined: the authorities that Node brings. */
  readonly authorities: Material | undefined
  /** What the server is shown. Undefined: nothing. */
  readonly identity: { readonly certificate: Material; readonly key: Material } | undefined
  /** What certificates must be for, where that is not the host. */
  readonly serverName: string | undefined
}

export interface ClientOptions {
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly database?: number | undefined
  readonly tls?: RedisTls | undefined
  readonly resp?: 2 | 3 | undefined
  /** Ends what is on its way. */
  readonly signal?: AbortSignal | undefined
}

export type Client = ReturnType<typeof createClient>

/** How long a server may take to accept a connection and answer on it, in milliseconds. */
const CONNECT_MS = 2_000
/** What waits for an answer beyond that is not asked at all. */
const QUEUE = 20_000
/** It is asked whether it is there so often, and is gone when it was looked for so many times and said nothing. */
const PING_EVERY_MS = 1_000
const SILENT = 3

/** What all clients of the library are made with; nothing is sent that the list of commands does not name. */
export async function clientOptions({ user, password, database, tls, resp = 3 }: ClientOptions) {
  const { RESP_TYPES } = await import('@redis/client')
  return {
    RESP: resp,
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && database !== 0 && { database }),
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    // Nothing waits for a connection.
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
 * Connects once.
 *
 * @throws whatever keeps it from there
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
 * A server that takes connections and says nothing is none: the library would wait.
 *
 * @throws as what is waited for does; when it takes too long; when it is not wanted any more
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
 * Resolves when a client says nothing any more: a network that swallows packets ends no connection. It is looked for, not
 * timed: a process that was busy for so long itself has not read what was said.
 *
 * @returns also how to stop asking
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

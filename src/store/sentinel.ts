import { type ClientOptions, connectClient, end, type TcpAddress } from './client.ts'
import type { Link, Reply } from './link.ts'
import { openSingle } from './single.ts'

export interface Sentinels {
  /** What they call the master. */
  readonly name: string
  readonly nodes: readonly TcpAddress[]
  readonly user: string | undefined
  readonly password: string | undefined
}

/** How long to wait for one Sentinel, in milliseconds: the others have answered by then. */
const ANSWERED_MS = 500
/** How often Sentinels are asked for the master, in milliseconds: a master that is cut off from them does not know it. */
const ASK_EVERY_MS = 5_000

/**
 * Opens a link to the server that most Sentinels name as the master. As their protocol demands, they are asked anew for each
 * connection, and the server is asked for its role. A server that is demoted ends its connections.
 *
 * Does not use the library's own `createSentinel`: with it commands wait while a Sentinel is being looked for, and are sent
 * again and again for up to seventeen seconds.
 *
 * @throws where the master cannot be reached
 */
export async function openSentinel(sentinels: Sentinels, options: ClientOptions): Promise<Link> {
  const address = await masterOf(sentinels, options)
  const link = await openSingle(address, options)
  const role = await link.send('', ['ROLE']).catch((error: unknown) => error)
  if (!Array.isArray(role) || String(role[0]) !== 'master') {
    link.destroy()
    throw new Error(role instanceof Error ? role.message : 'the master of the Sentinels is none')
  }
  const { moved, stop } = watch(sentinels, options, address)
  const destroy = (): void => {
    stop()
    link.destroy()
  }
  void link.ended.then(stop)
  return {
    get isReady() {
      return link.isReady
    },
    get isWhole() {
      return link.isWhole
    },
    send: link.send,
    ended: Promise.race([link.ended, moved]),
    close: link.close,
    destroy,
  }
}

/** Resolves when most Sentinels that answer name another master. If none of them answers nothing changes. */
function watch(
  sentinels: Sentinels,
  options: ClientOptions,
  current: TcpAddress,
): { readonly moved: Promise<Error>; readonly stop: () => void } {
  let timer: NodeJS.Timeout | undefined
  const moved = new Promise<Error>((resolve) => {
    timer = setInterval(() => {
      masterOf(sentinels, options).then(
        (address) => {
          if (nameOf(address) !== nameOf(current)) resolve(new Error('there is another master'))
        },
        () => undefined,
      )
    }, ASK_EVERY_MS)
    timer.unref()
  })
  return { moved, stop: () => clearInterval(timer) }
}

/** Asks all Sentinels at once: together they outvote one that was cut off. */
async function masterOf(sentinels: Sentinels, options: ClientOptions): Promise<TcpAddress> {
  const answers = await Promise.allSettled(
    sentinels.nodes.map((node) => ask(node, sentinels, options)),
  )
  const votes = new Map<string, { readonly address: TcpAddress; count: number }>()
  for (const answer of answers) {
    if (answer.status === 'rejected') continue
    const vote = votes.get(nameOf(answer.value)) ?? { address: answer.value, count: 0 }
    vote.count++
    votes.set(nameOf(answer.value), vote)
  }
  const [most] = [...votes.values()].sort((one, other) => other.count - one.count)
  if (most !== undefined) return most.address
  const reason = answers.find((answer) => answer.status === 'rejected')?.reason as unknown
  throw new Error('no Sentinel names a master', { cause: reason })
}

async function ask(
  node: TcpAddress,
  { name, user, password }: Sentinels,
  { tls, resp, signal }: ClientOptions,
): Promise<TcpAddress> {
  const asked = connectClient(node, { user, password, tls, resp, signal }).then(
    async ({ client }) => {
      try {
        return await client.sendCommand<Reply>(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name])
      } finally {
        end(client)
      }
    },
  )
  const reply = await inTime(asked)
  const [host, port] = (Array.isArray(reply) ? reply : []).map(String)
  if (host === undefined || port === undefined || !/^\d{1,5}$/.test(port)) {
    throw new Error('a Sentinel does not know the master')
  }
  return { host, port: Number(port) }
}

async function inTime<Value>(value: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('a Sentinel does not answer')), ANSWERED_MS)
  })
  try {
    return await Promise.race([value, late])
  } finally {
    clearTimeout(timer)
    value.catch(() => undefined)
  }
}

function nameOf({ host, port }: TcpAddress): string {
  return `${host}:${port}`
}

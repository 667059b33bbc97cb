import { type ClientOptions, connectClient, end, type RedisAddress, silence } from './client.ts'
import type { Link, Reply } from './link.ts'

/**
 * Opens a link to one server.
 *
 * @throws the reason why there is no connection
 */
export async function openSingle(address: RedisAddress, options: ClientOptions): Promise<Link> {
  const { client, lost } = await connectClient(address, options)
  const { silent, stop } = silence(() => [client])
  const destroy = (): void => {
    stop()
    end(client)
  }
  const ended = Promise.race([lost, silent])
  // A lost connection answers nothing: destroyed, it fails at once what would wait for an answer.
  void ended.then(destroy)
  return {
    get isReady() {
      return client.isReady
    },
    get isWhole() {
      return client.isReady
    },
    send: (_key, words) => client.sendCommand<Reply>(words),
    ended,
    async close() {
      if (client.isOpen) await client.close()
    },
    destroy,
  }
}

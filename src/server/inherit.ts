import type { Client, Config } from '../config/config.ts'
import { inheritDpopKey } from '../exchange/dpop.ts'

/** Carries over what belongs to a client and is not configured, its generated DPoP key, to the same client of the next. */
export function inherit(config: Config, from: Config): void {
  const before = clientsOf(from)
  for (const [name, client] of clientsOf(config)) {
    const old = before.get(name)
    if (old !== undefined) inheritDpopKey(client, old)
  }
}

/** By issuer, place and id: a client whose secret changes is still the same. */
function clientsOf({ apis, routes }: Config): ReadonlyMap<string, Client> {
  const clients = new Map<string, Client>()
  const add = (issuer: string, place: string, client: Client | undefined): void => {
    if (client !== undefined) clients.set(JSON.stringify([issuer, place, client.id]), client)
  }
  for (const { name, issuer, client } of apis) add(issuer.name, `api ${name}`, client)
  for (const { name, authenticate, exchange } of routes) {
    const [api] = authenticate.apis
    if (api === undefined || exchange.grant !== 'refresh-token') continue
    add(api.issuer.name, `route ${name}`, exchange.client)
  }
  return clients
}

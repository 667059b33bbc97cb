import { setImmediate as others } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Config, TokenEndpointConfig } from '../config/config.ts'

/** The differences between two configurations, by name: `routes.orders`, `server.limits`. Holds no value of either. */
export interface Changes {
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
}

/** Comparing ten thousand routes takes half a second: after so many parts, waiting requests go first. */
const AT_ONCE = 250

export async function changesBetween(before: Config, after: Config): Promise<Changes> {
  const [old, present] = [partsOf(before), partsOf(after)]
  const added: string[] = []
  const changed: string[] = []
  let looked = 0
  for (const [name, value] of present) {
    if (++looked % AT_ONCE === 0) await others()
    if (!old.has(name)) added.push(name)
    else if (!isDeepStrictEqual(old.get(name), value)) changed.push(name)
  }
  return { added, changed, removed: [...old.keys()].filter((name) => !present.has(name)) }
}

export function isNothing({ added, changed, removed }: Changes): boolean {
  return added.length + changed.length + removed.length === 0
}

/** Each part by its own options: a changed issuer does not change its APIs. What only `provision` reads is left out. */
function partsOf(config: Config): ReadonlyMap<string, unknown> {
  const { server, admin, issuers, apis, routes, endpoints, cache } = config
  const parts = new Map<string, unknown>()
  const add = (name: string, value: unknown): void => {
    if (value !== undefined) parts.set(name, value)
  }
  for (const [name, value] of Object.entries(server)) add(`server.${name}`, value)
  for (const [name, value] of Object.entries(admin)) add(`admin.${name}`, value)
  for (const { management: _, ...issuer } of issuers) add(`issuers.${issuer.name}`, issuer)
  for (const api of apis) add(`apis.${api.name}`, { ...api, issuer: api.issuer.name })
  for (const route of routes) {
    const names = route.authenticate.apis.map(({ name }) => name)
    add(`routes.${route.name}`, { ...route, authenticate: names })
  }
  add('endpoints.forwardAuth', endpoints.forwardAuth)
  add('endpoints.token', endpoints.token && named(endpoints.token))
  for (const [name, value] of Object.entries(cache)) add(`cache.${name}`, value)
  return parts
}

function named({ routes, callerKeys, ...others }: TokenEndpointConfig): object {
  return {
    ...others,
    routes: routes.map(({ name }) => name),
    callerKeys: Array.from(callerKeys, ([{ name }, keys]) => [name, keys]),
  }
}

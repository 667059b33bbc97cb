import type { Api, Bound, Route, WeightedUpstream } from './config.ts'
import type { Faults, Path } from './faults.ts'

/** What a route's issued tokens are bound to, and the parts of the route that this concerns. */
export interface Binding {
  readonly bound: Bound | undefined
  /** The APIs whose clients obtain the route's tokens. */
  readonly apis: readonly Api[]
  readonly upstreams: readonly WeightedUpstream[]
  /** The path of the route. */
  readonly at: Path
}

/** Refuses `bound: mtls` without a certificate to show, or without TLS to show it over. */
export function refuseUnbindable({ bound, apis, upstreams, at }: Binding, faults: Faults): void {
  if (bound !== 'mtls') return
  for (const { name, client } of apis) {
    if (client === undefined || client.certificate !== undefined) continue
    const what = `needs a \`certificate\` and its \`key\` at the client of API \`${name}\``
    faults.add([...at, 'exchange', 'bound'], what)
  }
  if (upstreams.every(({ url }) => url.startsWith('https:'))) return
  faults.add(
    [...at, 'proxy'],
    'must have an `https:` upstream: without TLS the certificate that the token is bound to cannot be shown',
  )
}

/** Refuses keys and certificates that no route uses: whoever configured one expects tokens to be bound to it. */
export function refuseUnusedBindings(
  apis: readonly Api[],
  routes: readonly Route[],
  faults: Faults,
): void {
  for (const api of apis) {
    const { name, client } = api
    const at = ['apis', name, 'client']
    if (client?.dpopKey !== undefined && !binds(api, 'dpop', routes)) {
      faults.add([...at, 'dpopKey'], 'is of no use without a route that asks for `bound: dpop`')
    }
    if (client?.certificate === undefined || client.method === 'tls_client_auth') continue
    if (!binds(api, 'mtls', routes)) {
      const what = 'is of no use beside another way to authenticate without a route'
      faults.add([...at, 'certificate'], `${what} that asks for \`bound: mtls\``)
    }
  }
}

/** Whether any route of the API asks for tokens that are bound in this way. */
export function binds(api: Api, bound: Bound, routes: readonly Route[]): boolean {
  return routes.some(
    ({ authenticate, exchange }) => exchange.bound === bound && authenticate.apis.includes(api),
  )
}

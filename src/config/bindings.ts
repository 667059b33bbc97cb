import type { Api, Bound, Route, WeightedUpstream } from './config.ts'
import type { Faults, Path } from './faults.ts'

/** What a route's tokens are to be bound to, and what that takes of the others. */
export interface Binding {
  readonly bound: Bound | undefined
  /** Whose clients ask for its tokens. */
  readonly apis: readonly Api[]
  readonly upstreams: readonly WeightedUpstream[]
  /** Of the route. */
  readonly at: Path
}

/** A certificate is shown by the client that has it, over TLS, or not at all. */
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

/** What no route would ever use: who wrote it expects its tokens to be bound. */
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

/** Whether tokens that an API asks for are bound like that. */
export function binds(api: Api, bound: Bound, routes: readonly Route[]): boolean {
  return routes.some(
    ({ authenticate, exchange }) => exchange.bound === bound && authenticate.apis.includes(api),
  )
}

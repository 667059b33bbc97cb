/** A configuration that is good, to be changed in one place. */
import type { Config } from '../../src/config/config.ts'
import { ConfigError, type Fault } from '../../src/config/faults.ts'
import { readConfig } from '../../src/config/load.ts'
import type { Environment } from '../../src/config/environment.ts'

/** As long as HS256 asks for (RFC 7518, section 3.2), and not a byte longer. */
export const SECRET = 'Vq7dKx2mRz9TbN4wYs6LhC1fJg8PaE3u'

export function valid(): object {
  return {
    server: {
      listen: '127.0.0.1:8080',
      publicOrigin: 'https://gateway.example',
      trustedProxies: ['10.0.0.0/8'],
      drain: { delay: '0ms', timeout: '1s' },
    },
    admin: { listen: '127.0.0.1:8081' },
    issuers: {
      tenant: {
        issuer: 'https://tenant.example/',
        profile: 'auth0',
        budget: { rate: 8, burst: 1 },
      },
      other: { issuer: ['https://other.example', 'https://login.example'], profile: 'rfc8693' },
    },
    apis: {
      storefront: {
        issuer: 'tenant',
        audience: 'https://storefront.example',
        algorithms: ['RS256'],
        client: { id: 'storefront-gateway', secret: 'client secret' },
      },
      backoffice: {
        issuer: 'other',
        audience: 'https://backoffice.example',
        algorithms: ['HS256'],
        signingSecret: SECRET,
        client: { id: 'backoffice-gateway', secret: 'client secret' },
      },
    },
    routes: [
      {
        name: 'orders',
        match: { path: '/orders', methods: ['GET', 'POST'] },
        authenticate: { api: 'storefront' },
        authorize: { scopes: ['read:orders'] },
        exchange: { audience: 'https://orders.internal', scopes: ['orders:read'] },
        proxy: { upstream: 'http://127.0.0.1:9001', timeout: '5s' },
      },
      {
        name: 'stock',
        match: { path: '/stock' },
        authenticate: { api: 'backoffice' },
        exchange: { resource: 'https://stock.internal' },
        proxy: { upstream: 'http://127.0.0.1:9002' },
      },
    ],
    cache: { maxEntries: 10, maxBytes: '1MiB' },
  }
}

type Changes = Readonly<Record<string, unknown>>

/** A copy with these paths changed, `routes[0].match.path` and the like; undefined takes a key away. */
export function changed(changes: Changes, base: object = valid()): object {
  const copy = structuredClone(base)
  for (const [path, value] of Object.entries(changes)) {
    const steps = path.split(/[.[\]]+/).filter((step) => step !== '')
    const last = steps.pop()!
    let holder = copy as Record<string, unknown>
    for (const step of steps) holder = (holder[step] ??= {}) as Record<string, unknown>
    if (value === undefined) delete holder[last]
    else holder[last] = value
  }
  return copy
}

/** What is wrong with an object; empty when nothing is. */
export function faultsOf(input: object, environment: Environment = {}): readonly Fault[] {
  try {
    readConfig(input, { environment })
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

/** Of the first API's client, where it has one. */
export function secretOf({ apis }: Pick<Config, 'apis'>): string | undefined {
  const client = apis[0]?.client
  return client !== undefined && 'secret' in client ? client.secret : undefined
}

/** `path: message`, for comparison. */
export function told(faults: readonly Fault[]): readonly string[] {
  return faults.map(({ path, message }) => `${path}: ${message}`)
}

import type { Resource } from './config.ts'
import type { Faults, Path } from './faults.ts'
import { mapping } from './parts.ts'

/** RFC 9728, section 3. */
const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** RFC 9728, section 3.1: the well-known part is inserted between the host and the path. */
export function resourceOf(
  identifier: string,
  scopesSupported: readonly string[] | undefined,
): Resource {
  const { origin, pathname } = new URL(identifier)
  const path = pathname === '/' ? '' : pathname
  return { identifier, metadataUri: `${origin}${WELL_KNOWN}${path}`, scopesSupported }
}

export interface Surroundings {
  /** The APIs as they are written, faulty ones included, so that one fault does not hide another. */
  readonly apis: Readonly<Record<string, unknown>>
  readonly routes: unknown
  /** Undefined where `server` has faults. */
  readonly publicOrigins: readonly string[] | undefined
}

/** Refuses resources beyond the public origins, and routes with the paths at which the gateway serves metadata. */
export function checkResources(
  { apis, routes, publicOrigins }: Surroundings,
  faults: Faults,
): void {
  const owners = new Map<string, string>()
  for (const [name, value] of Object.entries(apis)) {
    const { resource, scopesSupported } = mapping(value)
    const at = ['apis', name, 'resource']
    if (resource === undefined && scopesSupported !== undefined) {
      faults.add(['apis', name, 'scopesSupported'], 'is of no use without a `resource`')
    }
    if (typeof resource !== 'string' || faults.within(at) || !URL.canParse(resource)) continue
    checkOrigin(new URL(resource).origin, at, publicOrigins, faults)
    const { metadataUri } = resourceOf(resource, undefined)
    const owner = owners.get(metadataUri)
    if (owner !== undefined) faults.add(at, `repeats the resource of \`apis.${owner}\``)
    else owners.set(metadataUri, name)
  }
  for (const [index, route] of (Array.isArray(routes) ? routes : []).entries()) {
    const { path } = mapping(mapping(route)['match'])
    if (path !== WELL_KNOWN && !(typeof path === 'string' && path.startsWith(`${WELL_KNOWN}/`))) {
      continue
    }
    const message = 'is where the metadata of APIs stands (RFC 9728), which needs no token'
    faults.add(['routes', index, 'match', 'path'], message)
  }
}

function checkOrigin(
  origin: string,
  at: Path,
  publicOrigins: readonly string[] | undefined,
  faults: Faults,
): void {
  if (publicOrigins === undefined || publicOrigins.includes(origin)) return
  const message =
    publicOrigins.length === 0
      ? 'needs `server.publicOrigin`: it must stand under an origin that callers reach the gateway by'
      : `must stand under \`server.publicOrigin\`, which is ${publicOrigins.join(' or ')}`
  faults.add(at, message)
}

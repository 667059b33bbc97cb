import type { Environment } from '../config/environment.ts'
import type { Issuer } from '../config/config.ts'
import type { Outbound } from '../outbound.ts'
import type { Desired } from './desired.ts'
import { ProvisionError } from './failure.ts'
import type { Gone, Step } from './step.ts'

/** The address of a tenant's Management API, a token for it, and the scopes of that token. */
export interface Access {
  /** Ends with a slash. */
  readonly baseUrl: string
  readonly token: string
  /** Undefined: the token does not show its scopes. */
  readonly scopes: ReadonlySet<string> | undefined
}

/** Every scope that setting a tenant up may need. */
export const ALL_SCOPES = [
  'read:resource_servers',
  'create:resource_servers',
  'update:resource_servers',
  'read:clients',
  'create:clients',
  'update:clients',
  'read:client_keys',
  'update:client_keys',
  'read:client_credentials',
  'create:client_credentials',
  'read:client_grants',
  'create:client_grants',
  'update:client_grants',
] as const

/** The scopes that `--replace` may need in addition. */
export const REPLACE_SCOPES = [
  'delete:resource_servers',
  'delete:client_credentials',
  'delete:client_grants',
] as const

export type ManagementScope = (typeof ALL_SCOPES | typeof REPLACE_SCOPES)[number]

/**
 * An access token for the Management API: the configured one, else one by client credentials (RFC 6749, section 4.4). The
 * Management API is at the tenant's own domain, never at a custom one.
 *
 * @throws {ProvisionError} `management_refused` without credentials, or with bad ones
 */
export async function openAccess(
  issuer: Issuer,
  environment: Environment,
  outbound: Outbound,
): Promise<Access> {
  const { origin, baseUrl } = addressesOf(issuer)
  const given = credentialsOf(issuer, environment)
  if ('token' in given) return { baseUrl, token: given.token, scopes: scopesIn(given.token) }
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: given.clientId,
    client_secret: given.clientSecret,
    audience: baseUrl,
  })
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const url = `${origin}oauth/token`
  const answer = await outbound
    .fetch(url, { method: 'POST', headers, body: body.toString() })
    .catch(() => {
      throw new ProvisionError('management_unavailable', `${url} cannot be reached`)
    })
  const read = (await answer.json().catch(() => ({}))) as Readonly<Record<string, unknown>>
  const { access_token: token, scope, error } = read
  if (answer.status >= 500 || answer.status === 429) {
    throw new ProvisionError('management_unavailable', `${url} answers ${answer.status}`)
  }
  if (typeof token !== 'string') {
    const why = typeof error === 'string' && /^[a-z_]{1,64}$/.test(error) ? ` ${error}` : ''
    const message = `no token for the Management API: ${url} answers ${answer.status}${why}`
    throw new ProvisionError('management_refused', message)
  }
  const scopes = typeof scope === 'string' ? new Set(scope.split(' ')) : scopesIn(token)
  return { baseUrl, token, scopes }
}

function addressesOf({ identifiers, management }: Issuer): { origin: string; baseUrl: string } {
  const [first = ''] = identifiers
  const { protocol, host } = new URL(first)
  const origin =
    management?.domain === undefined ? `${protocol}//${host}/` : `https://${management.domain}/`
  return { origin, baseUrl: `${origin}api/v2/` }
}

type Credentials =
  { readonly token: string } | { readonly clientId: string; readonly clientSecret: string }

function credentialsOf({ name, management }: Issuer, environment: Environment): Credentials {
  if (management?.token !== undefined) return { token: management.token }
  const token = environment['AUTH0_MANAGEMENT_TOKEN']
  const clientId = management?.clientId ?? environment['AUTH0_CLIENT_ID']
  const clientSecret = management?.clientSecret ?? environment['AUTH0_CLIENT_SECRET']
  if (clientId && clientSecret) return { clientId, clientSecret }
  if (token) return { token }
  const message =
    `no credentials for the Management API of issuers.${name}: give \`management\`, or the variables ` +
    'AUTH0_CLIENT_ID and AUTH0_CLIENT_SECRET, or AUTH0_MANAGEMENT_TOKEN'
  throw new ProvisionError('management_refused', message)
}

/** The scopes in the token, unverified: the tenant verifies the token, here they only predict what it will refuse. */
function scopesIn(token: string): ReadonlySet<string> | undefined {
  try {
    const [, payload = ''] = token.split('.')
    const { scope } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as {
      readonly scope?: unknown
    }
    return typeof scope === 'string' ? new Set(scope.split(' ')) : undefined
  } catch {
    return undefined
  }
}

/** The scopes that reading needs. */
export function scopesToRead({ clients, grants }: Desired): readonly ManagementScope[] {
  const isProved = clients.some(({ proof }) => proof !== undefined)
  return [
    'read:resource_servers',
    ...(clients.length > 0 ? (['read:clients'] as const) : []),
    ...(isProved ? (['read:client_credentials'] as const) : []),
    ...(grants.length > 0 ? (['read:client_grants'] as const) : []),
  ]
}

const NOUNS = {
  'resource-server': 'resource_servers',
  client: 'clients',
  'client-grant': 'client_grants',
} as const

/** `undefined`: the tenant deletes it together with its resource server. */
const DELETING: Readonly<Record<Gone['kind'], ManagementScope | undefined>> = {
  'resource-server': 'delete:resource_servers',
  client: undefined,
  'client-grant': 'delete:client_grants',
  credential: 'delete:client_credentials',
}

/** The scopes that these steps need. */
export function scopesToApply(steps: readonly Step[]): readonly ManagementScope[] {
  const scopes = new Set<ManagementScope>()
  for (const { action, kind, fields, deletes } of steps) {
    if (action === 'unchanged') continue
    // When a credential of a client is replaced, the client itself is updated, not created again.
    const verb = action === 'replace' ? (kind === 'client' ? 'update' : 'create') : action
    scopes.add(`${verb}:${NOUNS[kind]}`)
    for (const gone of deletes) {
      const scope = DELETING[gone.kind]
      if (scope !== undefined) scopes.add(scope)
    }
    if (verb === 'update' && 'client_secret' in fields) scopes.add('update:client_keys')
    if (verb === 'update' && 'client_authentication_methods' in fields) {
      scopes.add('create:client_credentials')
    }
  }
  return [...scopes]
}

/** @throws {ProvisionError} `management_refused`, which names all missing scopes */
export function assertScopes({ scopes }: Access, needed: readonly ManagementScope[]): void {
  const missing = scopes === undefined ? [] : needed.filter((scope) => !scopes.has(scope))
  if (missing.length === 0) return
  const message = `the Management API's token lacks ${missing.join(', ')}; nothing was changed`
  throw new ProvisionError('management_refused', message)
}

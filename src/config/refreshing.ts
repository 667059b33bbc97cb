import { type ClientInput, resolveClient } from './clients.ts'
import type { Api, Client, ExchangeConfig, Grant } from './config.ts'
import type { ExchangeInput } from './exchange-options.ts'
import type { Faults, Path } from './faults.ts'
import { MANNERS } from './profiles.ts'

export interface RefreshContext {
  readonly apis: readonly Api[]
  readonly grant: Grant
  readonly at: Path
  readonly faults: Faults
  /** Where relative paths start. */
  readonly folder: string
}

type Redeeming = Pick<
  ExchangeConfig & { readonly grant: 'refresh-token' },
  'client' | 'refreshTokenHeader' | 'returnRefreshToken'
>

/** Resolves the options of a route that redeems its callers' refresh tokens; undefined where they have faults. */
export function resolveRedeeming(
  input: ExchangeInput,
  context: RefreshContext,
): Redeeming | undefined {
  const { grant, at, faults } = context
  if (grant !== 'refresh-token') return undefined
  const { refreshTokenHeader, returnRefreshToken = false, refreshTokenRotation = true } = input
  if (refreshTokenHeader === undefined) {
    faults.add(at, 'needs a `refreshTokenHeader`: the refresh token is what the caller brings')
  }
  if (returnRefreshToken && !refreshTokenRotation) {
    const what = 'is of no use with `refreshTokenRotation: false`: nothing replaces the token'
    faults.add([...at, 'returnRefreshToken'], what)
  } else if (!returnRefreshToken && refreshTokenRotation) {
    const choice = '`returnRefreshToken: true`, or `refreshTokenRotation: false` where'
    const what = 'needs one to be used after it'
    faults.add(at, `needs ${choice} the client's tokens do not rotate: each rotated one ${what}`)
  }
  const client = clientOf(input.client, context)
  if (client === undefined || refreshTokenHeader === undefined) return undefined
  return { client, refreshTokenHeader, returnRefreshToken }
}

function clientOf(
  input: ClientInput | undefined,
  { apis, at: of, faults, folder }: RefreshContext,
): Client | undefined {
  const at = [...of, 'client']
  if (input === undefined) {
    faults.add(of, 'needs a `client`: only the one that obtained a refresh token can redeem it')
    return undefined
  }
  const [issuer, another] = new Set(apis.map((api) => api.issuer))
  if (another !== undefined) {
    faults.add(at, 'is of one issuer: the route takes tokens of several')
    return undefined
  }
  return issuer && resolveClient(input, { issuer, at, faults, folder })
}

/** Refuses `renew` where the issuer would return no refresh token. */
export function refuseUnrenewable(
  { renew, scopes, parameters }: ExchangeInput,
  { apis, at: of, faults }: RefreshContext,
): void {
  if (renew === undefined) return
  const at = [...of, 'renew']
  for (const profile of new Set(apis.map(({ issuer }) => issuer.profile))) {
    const { renewedBy } = MANNERS[profile]
    if (renewedBy === undefined) {
      faults.add(at, `profile \`${profile}\` gives no refresh token for an exchange`)
    } else if (renewedBy === 'scope' && scopes.length === 0) {
      faults.add(at, 'needs `scopes`: for `offline_access` alone, issuers give no others')
    } else if (renewedBy === 'type' && Object.hasOwn(parameters, 'requested_token_type')) {
      const path = [...of, 'parameters', 'requested_token_type']
      faults.add(path, `is how profile \`${profile}\` is asked for a refresh token`)
    }
  }
}

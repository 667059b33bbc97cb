import type { Permit } from '../../authorize/authorize.ts'
import type { ExchangeConfig } from '../../config/config.ts'
import type { Profile } from '../profiles.ts'
import { setTarget } from './target.ts'

export const REFRESH_TOKEN_GRANT = 'refresh_token'

/**
 * The form of a refresh (RFC 6749, section 6) for the route's target, which may be another than that of the login: by
 * `audience` (Auth0's Multi-Resource Refresh Tokens) or by `resource` (RFC 8707, section 2.2). Pure.
 */
export function refreshTokenForm(
  { route }: Permit,
  profile: Profile,
  refreshToken: string,
): URLSearchParams {
  const form = new URLSearchParams({ refresh_token: refreshToken })
  setTarget(form, { ...route.exchange, scopes: askedScopes(route.exchange, profile) })
  return form
}

/** The route's scopes; on a route that renews also the scope that asks for a refresh token, where the issuer has one. */
export function askedScopes(
  { scopes, renew }: ExchangeConfig,
  { renewal }: Profile,
): readonly string[] {
  const asks = renew !== undefined && 'scope' in renewal && !scopes.includes(renewal.scope)
  return asks ? [...scopes, renewal.scope] : scopes
}

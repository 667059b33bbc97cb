import type { Permit } from '../../authorize/authorize.ts'
import type { ExchangeConfig } from '../../config/config.ts'
import { ACCESS_TOKEN_TYPE, type Profile } from '../profiles.ts'
import { askedScopes } from './refresh-token.ts'
import { setTarget } from './target.ts'

export const TOKEN_EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'

/**
 * The form of an exchange of the subject token (RFC 8693, section 2.1), without client authentication. Pure.
 *
 * @param actorToken the token of the API that acts for the subject; absent: the issued token is the subject's alone
 */
export function tokenExchangeForm(
  { subject, route }: Permit,
  profile: Profile,
  actorToken?: string,
): URLSearchParams {
  const form = new URLSearchParams({
    subject_token: subject.value,
    subject_token_type: ACCESS_TOKEN_TYPE,
  })
  const requestedTokenType = requestedType(route.exchange, profile)
  if (requestedTokenType !== undefined) form.set('requested_token_type', requestedTokenType)
  if (actorToken !== undefined) {
    form.set('actor_token', actorToken)
    form.set('actor_token_type', ACCESS_TOKEN_TYPE)
  }
  setTarget(form, { ...route.exchange, scopes: askedScopes(route.exchange, profile) })
  return form
}

/** Some issuers return a refresh token with the access token where that type is asked for. */
function requestedType(
  { renew }: ExchangeConfig,
  { requestedTokenType, renewal }: Profile,
): string | undefined {
  return renew !== undefined && 'requestedTokenType' in renewal
    ? renewal.requestedTokenType
    : requestedTokenType
}

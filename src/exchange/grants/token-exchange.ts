import type { Permit } from '../../authorize/authorize.ts'
import { ACCESS_TOKEN_TYPE, type Profile } from '../profiles.ts'

export const TOKEN_EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** The form of an exchange of the subject token (RFC 8693, section 2.1), without client authentication. Pure. */
export function tokenExchangeForm({ subject, route }: Permit, profile: Profile): URLSearchParams {
  const { audience, resource, scopes } = route.exchange
  const form = new URLSearchParams({
    subject_token: subject.value,
    subject_token_type: ACCESS_TOKEN_TYPE,
    requested_token_type: profile.requestedTokenType,
  })
  if (audience !== undefined) form.set('audience', audience)
  if (resource !== undefined) form.set('resource', resource)
  if (scopes.length > 0) form.set('scope', scopes.join(' '))
  return form
}

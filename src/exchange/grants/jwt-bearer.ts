import type { Permit } from '../../authorize/authorize.ts'
import type { Profile } from '../profiles.ts'
import { askedScopes } from './refresh-token.ts'
import { setTarget } from './target.ts'

export const JWT_BEARER_GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/**
 * The form of Microsoft Entra ID's On-Behalf-Of: the subject token as the assertion of RFC 7523, section 2.1, and the
 * target in `scope`. Without client authentication. Pure.
 */
export function jwtBearerForm({ subject, route }: Permit, profile: Profile): URLSearchParams {
  const form = new URLSearchParams({
    assertion: subject.value,
    requested_token_use: 'on_behalf_of',
  })
  setTarget(form, { ...route.exchange, scopes: askedScopes(route.exchange, profile) })
  return form
}

import type { Permit } from '../../authorize/authorize.ts'
import { setTarget } from './target.ts'

export const CLIENT_CREDENTIALS_GRANT = 'client_credentials'

/** The form of the API's own token for the target (RFC 6749, section 4.4.2). Nothing of the subject is in it. Pure. */
export function clientCredentialsForm({ route }: Permit): URLSearchParams {
  const form = new URLSearchParams()
  setTarget(form, route.exchange)
  return form
}

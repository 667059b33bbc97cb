import type { Permit } from '../../authorize/authorize.ts'
import { setTarget } from './target.ts'

export const CLIENT_CREDENTIALS_GRANT = 'client_credentials'

/** The form that asks for the API's own token for the target (RFC 6749, section 4.4.2). It names no subject. Pure. */
export function clientCredentialsForm({ route }: Permit): URLSearchParams {
  const form = new URLSearchParams()
  setTarget(form, route.exchange)
  return form
}

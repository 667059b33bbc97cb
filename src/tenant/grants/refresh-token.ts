import { userAccess, userGrant } from '../access.ts'
import { tokenAnswer, type Grant } from '../answer.ts'
import type { Issue } from '../issue.ts'
import type { RefreshTokens } from '../refresh-tokens.ts'
import type { State } from '../state.ts'

/**
 * `grant_type=refresh_token` (RFC 6749, section 6), with rotation. The token is always for the API of the login: like a
 * tenant without a policy for it, this one ignores an `audience`. What the user has lost since is not given again.
 */
export function createRefreshTokenGrant(
  state: State,
  issue: Issue,
  refreshTokens: RefreshTokens,
): Grant {
  return async (form, client) => {
    const { family, next } = refreshTokens.redeem(form.required('refresh_token'), client)
    const { user, server } = family
    const requested = form.scopes()
    const wanted = family.scopes.filter((scope) => requested?.includes(scope) ?? true)
    const access = userAccess(server, user, wanted, userGrant(state, client, server))
    const scopes = wanted.includes('offline_access')
      ? [...access.scopes, 'offline_access']
      : access.scopes
    const token = await issue({
      client,
      server,
      subject: user.user_id,
      scopes,
      permissions: access.permissions,
      grantType: 'refresh_token',
    })
    const rotates = client.refresh_token.rotation_type === 'rotating'
    return {
      ...tokenAnswer(token, server, scopes, requested),
      ...(rotates ? { refresh_token: next } : {}),
    }
  }
}

import { userAccess, userGrant, type Access } from '../access.ts'
import { tokenAnswer, type Grant } from '../answer.ts'
import type { Form } from '../form.ts'
import type { Issue } from '../issue.ts'
import type { Family, RefreshTokens } from '../refresh-tokens.ts'
import { Refusal } from '../refusal.ts'
import type { Client } from '../client.ts'
import type { ResourceServer } from '../resource-server.ts'
import type { State } from '../state.ts'

/**
 * `grant_type=refresh_token` (RFC 6749, section 6), with rotation, for the API of the login, or for another one that the
 * client has a policy for (Auth0's Multi-Resource Refresh Tokens). As at Auth0, an `audience` without a policy and scopes
 * beyond the policy are silently ignored. Permissions that the user lost since the login are not granted.
 */
export function createRefreshTokenGrant(
  state: State,
  issue: Issue,
  refreshTokens: RefreshTokens,
): Grant {
  return async (form, client, proof) => {
    const { judged, next } = refreshTokens.redeem(
      form.required('refresh_token'),
      client,
      (family) => judge(state, family, form),
    )
    const { server, scopes, permissions, subject } = judged
    const token = await issue({
      client,
      server,
      subject,
      scopes,
      permissions,
      proof,
      grantType: 'refresh_token',
    })
    const rotates = client.refresh_token.rotation_type === 'rotating'
    return {
      ...tokenAnswer(token, server, scopes, form.scopes()),
      ...(rotates ? { refresh_token: next } : {}),
    }
  }
}

interface Judged extends Access {
  readonly server: ResourceServer
  readonly subject: string
}

/** @throws {Refusal} `access_denied`, `consent_required` */
function judge(state: State, family: Family, form: Form): Judged {
  const { user, client } = family
  const other = policyFor(state, client, form.get('audience'), family.server)
  const server = other?.server ?? family.server
  const within = other?.scopes ?? family.scopes
  if (other !== undefined && !server.skip_consent_for_verifiable_first_party_clients) {
    throw new Refusal('consent_required', 'Consent required')
  }
  const requested = form.scopes()
  const wanted = within.filter((scope) => requested?.includes(scope) ?? true)
  const access = userAccess(server, user, wanted, userGrant(state, client, server))
  const scopes = wanted.includes('offline_access')
    ? [...access.scopes, 'offline_access']
    : access.scopes
  return { server, scopes, permissions: access.permissions, subject: user.user_id }
}

interface Policy {
  readonly server: ResourceServer
  readonly scopes: readonly string[]
}

function policyFor(
  { resourceServers }: State,
  { refresh_token: { policies } }: Client,
  audience: string | undefined,
  ofLogin: ResourceServer,
): Policy | undefined {
  // The API of the login needs no policy, and a policy does not narrow what the login gave.
  if (audience === ofLogin.identifier) return undefined
  const policy = policies?.find((one) => one.audience === audience)
  const server = policy && resourceServers.get(policy.audience)
  return server && { server, scopes: policy.scope.filter((scope) => scope !== 'offline_access') }
}

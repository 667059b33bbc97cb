import { knownAudience, userAccess, userGrant } from '../access.ts'
import { tokenAnswer, type Grant, type TokenAnswer } from '../answer.ts'
import type { Issue } from '../issue.ts'
import type { RefreshTokens } from '../refresh-tokens.ts'
import { Refusal } from '../refusal.ts'
import type { Client } from '../client.ts'
import type { State } from '../state.ts'
import type { User } from '../user.ts'

export interface LoginOptions {
  readonly state: State
  readonly issue: Issue
  readonly refreshTokens: RefreshTokens
}

/** Issues the tokens of a user who was authenticated, for a client and an API. */
export type Login = (
  user: User,
  client: Client,
  audience: string,
  requested: readonly string[] | undefined,
  proof?: string,
) => Promise<TokenAnswer>

/** The last step of every login. Makes no ID token: `openid` is dropped like any scope that the API does not have. */
export function createLogin({ state, issue, refreshTokens }: LoginOptions): Login {
  return async (user, client, audience, requested, proof) => {
    const server = knownAudience(state, audience)
    const access = userAccess(server, user, requested, userGrant(state, client, server))
    const isOffline =
      requested?.includes('offline_access') === true &&
      server.allow_offline_access &&
      client.grant_types.includes('refresh_token')
    const scopes = isOffline ? [...access.scopes, 'offline_access'] : access.scopes
    const token = await issue({
      client,
      server,
      subject: user.user_id,
      scopes,
      permissions: access.permissions,
      proof,
      grantType: 'password',
    })
    return {
      ...tokenAnswer(token, server, scopes, requested),
      ...(isOffline
        ? { refresh_token: refreshTokens.create({ client, user, server, scopes }) }
        : {}),
    }
  }
}

/** `grant_type=password` (RFC 6749, section 4.3), with which tests and the demonstration log in without a browser. */
export function createPasswordGrant({ users }: State, login: Login): Grant {
  return async (form, client, proof) => {
    const audience = form.required('audience')
    const user = users.get(form.required('username'))
    const password = form.required('password')
    if (user === undefined || user.password !== password) {
      throw new Refusal('invalid_grant', 'Wrong email or password.')
    }
    return login(user, client, audience, form.scopes(), proof)
  }
}

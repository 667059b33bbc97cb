import { knownAudience, notAuthorized, userAccess } from '../access.ts'
import { tokenAnswer, type Grant } from '../answer.ts'
import type { Client } from '../client.ts'
import { grantedScopes, type ClientGrant } from '../client-grant.ts'
import type { RefreshTokens } from '../refresh-tokens.ts'
import { Refusal } from '../refusal.ts'
import type { ResourceServer } from '../resource-server.ts'
import type { State } from '../state.ts'
import {
  assertLinked,
  assertSomethingGranted,
  linkedApi,
  refuseClient,
  userOf,
  type TokenExchangeOptions,
} from './token-exchange.ts'

export interface LegacyTokenExchangeOptions extends TokenExchangeOptions {
  readonly refreshTokens: RefreshTokens
}

/**
 * Auth0's exchange of 2019, after draft 19 of RFC 8693. The API itself says which types of token may be exchanged. Its
 * grants say for which APIs and with which scopes; more than that is refused. The issued token has no `act`.
 * `requested_token_type` is ignored. `offline_access` gives a refresh token if the target allows one and the API may use
 * it. Gives no ID tokens.
 */
export function createLegacyTokenExchangeGrant(options: LegacyTokenExchangeOptions): Grant {
  const { state, issue, verifySubject, refreshTokens } = options
  return async (form, client, proof) => {
    const audience = form.required('audience')
    const linked = linkedApi(client)
    assertEnabled(state.resourceServer(linked), form.required('subject_token_type'))
    const subject = await verifySubject(form.required('subject_token'), linked)
    assertLinked(subject, linked)
    const user = userOf(state, subject)
    const server = knownAudience(state, audience)
    const grant = pairing(state, client, server)
    const requested = form.scopes()
    const isOffline = mayRenew(requested, client, server)
    const wanted = requested?.filter((scope) => scope !== 'offline_access' && scope !== 'openid')
    assertWithin(wanted, grantedScopes(grant, server))
    const access = userAccess(server, user, wanted, grant)
    assertSomethingGranted(access.scopes, wanted)
    const scopes = isOffline ? [...access.scopes, 'offline_access'] : access.scopes
    const { permissions } = access
    const token = await issue({ client, server, subject: user.user_id, scopes, permissions, proof })
    return {
      ...tokenAnswer(token, server, scopes, requested),
      ...(isOffline
        ? { refresh_token: refreshTokens.create({ client, user, server, scopes }) }
        : {}),
    }
  }
}

function assertEnabled(source: ResourceServer | undefined, type: string): void {
  if (source?.token_exchange?.enabled_subject_token_types.includes(type) === true) return
  refuseClient('Token exchange is not enabled for the API and this type of token')
}

/** The grant that lets the client's API call the other. */
function pairing(state: State, client: Client, server: ResourceServer): ClientGrant {
  const grant = state.grantOf(client, server, 'client') ?? notAuthorized(server)
  if (!server.skip_consent_for_verifiable_first_party_clients || !client.is_first_party) {
    throw new Refusal('consent_required', 'Consent required')
  }
  return grant
}

function assertWithin(wanted: readonly string[] | undefined, granted: readonly string[]): void {
  const lacking = wanted?.filter((scope) => !granted.includes(scope)) ?? []
  if (lacking.length === 0) return
  throw new Refusal('access_denied', `Client has not been granted scopes: ${lacking.join(', ')}`)
}

function mayRenew(
  requested: readonly string[] | undefined,
  client: Client,
  server: ResourceServer,
): boolean {
  return (
    requested?.includes('offline_access') === true &&
    server.allow_offline_access &&
    client.grant_types.includes('refresh_token')
  )
}

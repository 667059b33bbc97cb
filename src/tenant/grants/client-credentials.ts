import { knownAudience, notAuthorized } from '../access.ts'
import { grantedScopes } from '../client-grant.ts'
import { tokenAnswer, type Grant } from '../answer.ts'
import type { Issue } from '../issue.ts'
import { Refusal } from '../refusal.ts'
import type { State } from '../state.ts'

/** `grant_type=client_credentials` (RFC 6749, section 4.4): a token for the client itself, within its grant. */
export function createClientCredentialsGrant(state: State, issue: Issue): Grant {
  return async (form, client, proof) => {
    if (client.token_endpoint_auth_method === 'none') {
      throw new Refusal('unauthorized_client', 'A public client cannot act for itself')
    }
    const server = knownAudience(state, form.required('audience'))
    const grant = state.grantOf(client, server, 'client')
    const { policy } = server.subject_type_authorization.client
    if (policy === 'deny_all' || grant === undefined) notAuthorized(server)
    const requested = form.scopes()
    const granted = grantedScopes(grant, server)
    const lacking = requested?.filter((scope) => !granted.includes(scope)) ?? []
    if (lacking.length > 0) {
      throw new Refusal(
        'access_denied',
        `Client has not been granted scopes: ${lacking.join(', ')}`,
      )
    }
    const scopes = requested ?? granted
    const token = await issue({
      client,
      server,
      subject: `${client.client_id}@clients`,
      scopes,
      permissions: scopes,
      proof,
      grantType: 'client-credentials',
    })
    return tokenAnswer(token, server, scopes, requested)
  }
}

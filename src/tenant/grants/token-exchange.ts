import { knownAudience, notAuthorized, userAccess, userGrant } from '../access.ts'
import { tokenAnswer, type Grant } from '../answer.ts'
import type { Form } from '../form.ts'
import type { Actor, Issue } from '../issue.ts'
import { Refusal } from '../refusal.ts'
import type { Client } from '../client.ts'
import type { ClientGrant } from '../client-grant.ts'
import type { ResourceServer } from '../resource-server.ts'
import type { State } from '../state.ts'
import type { User } from '../user.ts'
import type { SubjectToken, VerifySubject } from '../subject-token.ts'

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const ON_BEHALF_OF = 'on_behalf_of_token_exchange'

/** How many actors an issued token may name. */
const LONGEST_CHAIN = 4

export interface TokenExchangeOptions {
  readonly state: State
  readonly issue: Issue
  readonly verifySubject: VerifySubject
}

/**
 * RFC 8693 as Auth0's On-Behalf-Of Token Exchange: an API that a user's token is for gets a token of the same user for
 * another API. Gives neither refresh tokens nor ID tokens, and does NOT look at a subject token's `cnf`.
 *
 * Auth0 documents which exchanges fail, but not always with which error. Where it does not, the error says what is at fault:
 * the client's set-up (`unauthorized_client`), the token (`invalid_grant`), or a policy (`access_denied`).
 */
export function createTokenExchangeGrant(options: TokenExchangeOptions): Grant {
  const { state, issue, verifySubject } = options
  return async (form, client, proof) => {
    assertOnBehalfOf(form)
    const audience = form.required('audience')
    const linked = assertMayExchange(client)
    const subject = await verifySubject(form.required('subject_token'), linked)
    assertLinked(subject, linked)
    const user = userOf(state, subject)
    const server = knownAudience(state, audience)
    const grant = exchangeGrant(state, client, server)
    const requested = form.scopes()
    const access = userAccess(server, user, requested, grant)
    assertSomethingGranted(access.scopes, requested)
    const token = await issue({
      client,
      server,
      subject: user.user_id,
      ...access,
      actor: chain(subject, client),
      proof,
    })
    return {
      ...tokenAnswer(token, server, access.scopes, requested),
      issued_token_type: ACCESS_TOKEN,
    }
  }
}

/** `requested_token_type` distinguishes On-Behalf-Of from Auth0's Custom Token Exchange. */
function assertOnBehalfOf(form: Form): void {
  const types = [form.required('subject_token_type'), form.required('requested_token_type')]
  if (types.some((type) => type !== ACCESS_TOKEN)) {
    throw new Refusal(
      'invalid_request',
      'Invalid subject_token_type and requested_token_type combination.',
    )
  }
}

/** The identifier of the client's API, if the client may exchange. */
function assertMayExchange(client: Client): string {
  const identifier = linkedApi(client)
  if (client.token_exchange?.allow_any_profile_of_type.includes(ON_BEHALF_OF) !== true) {
    refuseClient('On-Behalf-Of token exchange is not enabled for the client')
  }
  return identifier
}

/** The identifier of the client's API, whatever it may exchange. @throws {Refusal} `unauthorized_client` if it has none */
export function linkedApi(client: Client): string {
  if (client.token_endpoint_auth_method === 'none') {
    refuseClient('On-Behalf-Of token exchange needs client authentication')
  }
  const { app_type: type, resource_server_identifier: identifier } = client
  if (type !== 'resource_server' || identifier === undefined) {
    refuseClient('Only a client of a resource server may exchange tokens on behalf of users')
  }
  return identifier
}

/** @throws {Refusal} `unauthorized_client` */
export function assertLinked({ audiences }: SubjectToken, linked: string): void {
  if (!audiences.includes(linked)) {
    refuseClient('The subject token is for another API than the one that the client is')
  }
}

export function refuseClient(description: string): never {
  throw new Refusal('unauthorized_client', description)
}

/** @throws {Refusal} `access_denied`, `invalid_grant` */
export function userOf(state: State, subject: SubjectToken): User {
  if (subject.isOfClient) {
    throw new Refusal('access_denied', 'The subject token is of a client, not of a user')
  }
  const user = state.userById(subject.subject)
  // The same error as for a token that cannot be verified: its user does not exist.
  if (user === undefined) throw new Refusal('invalid_grant', 'Invalid subject_token', 401)
  return user
}

/**
 * Auth0's guide to the exchange demands a grant whatever the API's policy is. So does this tenant: a set-up that works here
 * also works where APIs are stricter.
 */
function exchangeGrant(state: State, client: Client, server: ResourceServer): ClientGrant {
  userGrant(state, client, server)
  const grant = state.grantOf(client, server, 'user') ?? notAuthorized(server)
  if (!server.skip_consent_for_verifiable_first_party_clients || !client.is_first_party) {
    throw new Refusal('consent_required', 'Consent required')
  }
  return grant
}

/** If some of the requested scopes are granted, the token is narrower; if none is, the exchange is refused. */
export function assertSomethingGranted(
  granted: readonly string[],
  requested: readonly string[] | undefined,
): void {
  if (requested !== undefined && requested.length > 0 && granted.length === 0) {
    throw new Refusal('access_denied', 'The user does not have the requested scopes')
  }
}

/** RFC 8693, section 4.1. The first exchange also names the application that the user's token was issued to. */
function chain({ actor, clientId }: SubjectToken, { client_id: sub }: Client): Actor {
  if (actor !== undefined && lengthOf(actor) >= LONGEST_CHAIN) {
    throw new Refusal(
      'invalid_request',
      `Delegation chain (\`act\` claim) depth exceeds the maximum allowed limit of ${LONGEST_CHAIN}`,
    )
  }
  const before = actor ?? (clientId === undefined ? undefined : { sub: clientId })
  return before === undefined ? { sub } : { sub, act: before }
}

function lengthOf(actor: Actor): number {
  let length = 0
  for (let one: Actor | undefined = actor; one; one = one.act) length++
  return length
}

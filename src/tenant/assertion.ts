import { createPublicKey } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, jwtVerify, type JWTPayload } from 'jose'
import type { Client, Credential } from './client.ts'
import type { Form } from './form.ts'
import { Refusal } from './refusal.ts'
import type { State } from './state.ts'

const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** Beyond that the oldest is forgotten: only somebody on this machine can flood a tenant on loopback. */
const REMEMBERED = 100_000

export interface AssertionsOptions {
  readonly state: State
  readonly issuer: string
  /** In epoch milliseconds. */
  readonly now: () => number
}

/**
 * The client whose key signed the form's `client_assertion` (RFC 7523, section 3; OpenID Connect Core, section 9).
 *
 * @throws {Refusal} `invalid_client`
 */
export type VerifyAssertion = (form: Form) => Promise<Client>

/** Each assertion is good once. Its `aud` is the issuer or the token endpoint. */
export function createVerifyAssertion({ state, issuer, now }: AssertionsOptions): VerifyAssertion {
  const used = new Map<string, number>()

  function assertUnused({ client_id: id }: Client, { jti, exp = 0 }: JWTPayload): void {
    for (const [old, until] of used) {
      if (until > now() / 1_000 && used.size < REMEMBERED) break
      used.delete(old)
    }
    const name = JSON.stringify([id, jti])
    if (typeof jti !== 'string' || jti === '' || used.has(name)) refuse()
    used.set(name, exp)
  }

  return async (form) => {
    if (form.get('client_assertion_type') !== JWT_BEARER) refuse()
    const assertion = form.required('client_assertion')
    const client = clientOf(state, form, assertion)
    const payload = await verified(assertion, client, [issuer, `${issuer}oauth/token`], now)
    if (payload.iss !== client.client_id || payload.sub !== client.client_id) refuse()
    assertUnused(client, payload)
    return client
  }
}

function clientOf(state: State, form: Form, assertion: string): Client {
  const named = form.get('client_id')
  const client = state.client(String(subjectOf(assertion)))
  if (client === undefined || (named !== undefined && named !== client.client_id)) refuse()
  return client
}

function subjectOf(assertion: string): string | undefined {
  try {
    return decodeJwt(assertion).sub
  } catch {
    return refuse()
  }
}

async function verified(
  assertion: string,
  client: Client,
  audience: string[],
  now: () => number,
): Promise<JWTPayload> {
  const { kid, alg } = decodeProtectedHeader(assertion)
  const credential = credentialsOf(client, now).find(
    (one) => (kid === undefined || one.kid === kid) && one.alg === alg,
  )
  if (credential?.pem === undefined) refuse()
  const options = {
    audience,
    algorithms: [String(credential.alg)],
    requiredClaims: ['iss', 'sub', 'exp', 'jti'],
    currentDate: new Date(now()),
  }
  const key = createPublicKey(credential.pem)
  const { payload } = await jwtVerify(assertion, key, options).catch(refuse)
  return payload
}

/** The credentials that the client authenticates by and that have not expired. */
function credentialsOf(client: Client, now: () => number): readonly Credential[] {
  const ids = client.client_authentication_methods?.private_key_jwt?.credentials ?? []
  return client.credentials.filter(
    ({ id, expires_at: end }) =>
      ids.some((one) => one.id === id) && (end === undefined || now() < Date.parse(end)),
  )
}

function refuse(): never {
  throw new Refusal('invalid_client', 'Unauthorized')
}

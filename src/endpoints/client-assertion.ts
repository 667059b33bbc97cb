import {
  type Assertion,
  type AssertionUse,
  type CheckAssertion,
  createCheckAssertion,
  unverifiedAssertion,
} from '../authenticate/assertion.ts'
import type { Client, TokenEndpointConfig } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { ReplayStore } from '../store/replay.ts'
import { refuse, type TokenForm } from './token-form.ts'

/** The clients that signed an assertion: several where issuers gave one client id twice, with the same key. */
export interface Signed {
  readonly clients: readonly Client[]
  /** Must be used up before anything is done for them: see `useUp`. */
  readonly use: AssertionUse
}

/**
 * Finds who signed an assertion. Does NOT check whether it was used before: see `useUp`.
 *
 * @param id the `client_id` of the form, where it has one
 * @throws {TokenRefusal} `invalid_client`, whose cause is for the log
 */
export type WhoSigned = (assertion: string, id: string | undefined) => Signed

interface Signer {
  readonly client: Client
  readonly check: CheckAssertion
}

/** @param audiences what the `aud` of assertions may be */
export function createWhoSigned(
  callerKeys: TokenEndpointConfig['callerKeys'],
  audiences: readonly string[],
): WhoSigned {
  const signers = Array.from(callerKeys).flatMap(([api, keys]): readonly Signer[] => {
    const { client, clockToleranceMs } = api
    if (client === undefined) return []
    const options = { clientId: client.id, keys, audiences, clockToleranceMs }
    return [{ client, check: createCheckAssertion(options) }]
  })
  return (token, id) => {
    const assertion = blaming(() => unverifiedAssertion(token))
    if (assertion instanceof GatewayError) notKnown(assertion)
    if (id !== undefined && id !== assertion.claims['sub']) {
      notKnown(new Error('the form names another client than the "sub" claim of the assertion'))
    }
    return signedBy(assertion, signers)
  }
}

function signedBy(assertion: Assertion, signers: readonly Signer[]): Signed {
  const clients: Client[] = []
  let use: AssertionUse | undefined
  let fault: Error = new Error('no client that the "sub" claim of the assertion names signs here')
  for (const { client, check } of signers) {
    if (client.id !== assertion.claims['sub']) continue
    const found = blaming(() => check(assertion))
    if (found instanceof GatewayError) {
      fault = found
      continue
    }
    clients.push(client)
    // The APIs of these clients may have different clock tolerances: the longest counts.
    if (use === undefined || use.until < found.until) use = found
  }
  return use === undefined ? notKnown(fault) : { clients, use }
}

/** Returns what is wrong with an assertion; throws defects. */
function blaming<Value>(look: () => Value): Value | GatewayError {
  try {
    return look()
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
}

/**
 * Refuses an assertion that was used before (RFC 7523, section 3, check 7).
 *
 * @throws {TokenRefusal} `invalid_client`
 * @throws {GatewayError} `replay_store_unavailable`
 */
export async function useUp(
  { name, until, holder }: AssertionUse,
  replays: ReplayStore,
): Promise<void> {
  if (await replays.isFirst(name, until, holder)) return
  notKnown(new Error('the assertion was used before'))
}

const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/**
 * The assertion of a form; undefined where it holds none.
 *
 * @throws {TokenRefusal} `invalid_request` for an assertion without its type or a type without its assertion, or where the
 *   client authenticates in another way as well (RFC 6749, section 2.3); `invalid_client` for another type of assertion
 */
export function presentedAssertion(
  authorization: string | undefined,
  form: TokenForm,
): string | undefined {
  const given = ['client_assertion', 'client_assertion_type'].some((one) => form.get(one))
  if (!given) return undefined
  if (authorization !== undefined || form.get('client_secret') !== undefined) inOneWayOnly()
  const assertion = form.required('client_assertion')
  if (form.required('client_assertion_type') === JWT_BEARER) return assertion
  notKnown(new Error('the assertion is of a type that is not known'))
}

export function inOneWayOnly(): never {
  refuse('invalid_request', 'a client must authenticate in one way only')
}

/**
 * Refuses a client in the same words whatever is wrong with it.
 *
 * @param cause for the log
 */
export function notKnown(cause?: Error): never {
  refuse('invalid_client', 'the client is not known here', cause)
}

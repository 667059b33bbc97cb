import type { Form } from './form.ts'
import type { Issued } from './issue.ts'
import type { Client } from './client.ts'
import type { ResourceServer } from './resource-server.ts'

/** The answer of the token endpoint (RFC 6749, section 5.1; RFC 8693, section 2.2.1). */
export interface TokenAnswer {
  readonly access_token: string
  readonly token_type: Issued['type']
  /** In seconds. */
  readonly expires_in: number
  readonly issued_token_type?: string
  readonly refresh_token?: string
  readonly scope?: string
}

/**
 * One grant type. The client is authenticated already; the grant decides what it may do.
 *
 * @param proof the thumbprint of the key whose possession the request proved
 * @throws {Refusal} the request is refused
 */
export type Grant = (form: Form, client: Client, proof?: string) => Promise<TokenAnswer>

/** The answer has `scope` only if that differs from what was asked for. */
export function tokenAnswer(
  { value, type }: Issued,
  { token_lifetime: lifetime }: ResourceServer,
  granted: readonly string[],
  requested: readonly string[] | undefined,
): TokenAnswer {
  const asAsked =
    requested !== undefined &&
    requested.length === granted.length &&
    requested.every((scope) => granted.includes(scope))
  return {
    access_token: value,
    token_type: type,
    expires_in: lifetime,
    ...(asAsked ? {} : { scope: granted.join(' ') }),
  }
}

import type { Form } from './form.ts'
import type { Issued } from './issue.ts'
import type { Client } from './client.ts'
import type { ResourceServer } from './resource-server.ts'

/** What the token endpoint answers (RFC 6749, section 5.1; RFC 8693, section 2.2.1). */
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
 * One grant type. The client is authenticated, but what it may do is the grant's to say.
 *
 * @param proof the thumbprint of the key that the request had proof of
 * @throws {Refusal} whatever stands against it
 */
export type Grant = (form: Form, client: Client, proof?: string) => Promise<TokenAnswer>

/** `scope` is told only where it is not what was asked for. */
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

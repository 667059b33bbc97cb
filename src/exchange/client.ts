import type { Permit } from '../authorize/authorize.ts'
import type { Api, Client, Route } from '../config/config.ts'

/**
 * The client that asks for a route's tokens: that of the API that the subject token is for. Only the client that a refresh
 * token was issued to can redeem it (RFC 6749, section 6), so with `grant: refresh-token` it is the caller's own.
 */
export function clientOf({
  subject,
  route,
}: Pick<Permit, 'subject' | 'route'>): Client | undefined {
  return clientAt(subject.api, route)
}

export function clientAt({ client }: Api, { exchange }: Route): Client | undefined {
  return exchange.grant === 'refresh-token' ? exchange.client : client
}

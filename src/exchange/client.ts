import type { Permit } from '../authorize/authorize.ts'
import type { Api, Client, Route } from '../config/config.ts'

/**
 * Who asks for a route's tokens: the API that the subject token is for. A caller's refresh token can be redeemed only by
 * the client that it was issued to (RFC 6749, section 6), which is the caller's.
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

import type { Permit } from '../authorize/authorize.ts'
import type { Client } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { clientOf } from './client.ts'
import { type DpopKey, dpopKeyOf } from './dpop.ts'
import { identityOf, isCertified } from './identity.ts'

/**
 * The thumbprint of the key or certificate that a route's issued tokens are bound to now; empty where they are not bound. As
 * a part of the cache key it keeps tokens that are bound to a replaced key or certificate from being found.
 *
 * @throws {GatewayError} `exchange_misconfigured` where there is nothing to bind them to
 */
export function thumbprintOf({ subject, route }: Pick<Permit, 'subject' | 'route'>): string {
  const { bound } = route.exchange
  if (bound === undefined) return ''
  const client = clientOf({ subject, route })
  try {
    if (client !== undefined) {
      if (bound === 'dpop') return dpopKeyOf(client).now().thumbprint
      if (isCertified(client)) return identityOf(client).now().thumbprint
    }
  } catch (cause) {
    throw unbindable(cause)
  }
  throw unbindable(new Error(`the API ${subject.api.name} has nothing that tokens are bound to`))
}

/**
 * The key to bind the next token to. Its file is read again where it has changed.
 *
 * @throws {GatewayError} `exchange_misconfigured` where there is none
 */
export async function keyToBind(client: Client): Promise<DpopKey> {
  try {
    return await dpopKeyOf(client).fresh()
  } catch (cause) {
    throw unbindable(cause)
  }
}

function unbindable(cause: unknown): GatewayError {
  return new GatewayError('exchange_misconfigured', 'the gateway cannot bind tokens to itself', {
    cause,
  })
}

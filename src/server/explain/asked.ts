import type { Permit } from '../../authorize/authorize.ts'
import type { Client } from '../../config/config.ts'
import { clientOf } from '../../exchange/client.ts'
import { requestOf } from '../../exchange/exchange.ts'
import { REFRESH_TOKEN_GRANT, refreshTokenForm } from '../../exchange/grants/refresh-token.ts'
import { keyParts } from '../../exchange/key.ts'
import { withParameters } from '../../exchange/parameters.ts'
import { PROFILES } from '../../exchange/profiles.ts'
import { showsCertificate } from '../../exchange/prove.ts'
import { isPublicField } from '../secrets.ts'
import type { Field } from './report.ts'

const ACTOR = '[an access token of the client itself]'
const REFRESH = "[the caller's refresh token]"
const WITHHELD = '[withheld]'

/** Which address of an issuer is asked (RFC 8705, section 5). */
export function endpointFor(permit: Permit): 'tokenEndpoint' | 'mutualTlsTokenEndpoint' {
  const client = clientOf(permit)
  const shows =
    client !== undefined && showsCertificate(client, permit.route.exchange.bound === 'mtls')
  return shows ? 'mutualTlsTokenEndpoint' : 'tokenEndpoint'
}

/** The form that an exchange would send, made as the exchange makes it. It shows only what is known to be no credential. */
export function formOf(permit: Permit): readonly Field[] {
  const { exchange } = permit.route
  const profile = PROFILES[permit.subject.api.issuer.profile]
  const delegates = exchange.grant === 'token-exchange' && exchange.delegation
  const { grantType, form } =
    exchange.grant === 'refresh-token'
      ? { grantType: REFRESH_TOKEN_GRANT, form: refreshTokenForm(permit, profile, REFRESH) }
      : requestOf(permit, profile, delegates ? ACTOR : undefined)
  const fields = [...withParameters(form, exchange.parameters)]
  const token = `[token ${permit.subject.fingerprint}]`
  const shown = (name: string, value: string): string => {
    if (value === permit.subject.value) return token
    return value === ACTOR || value === REFRESH || isPublicField(name) ? value : WITHHELD
  }
  return [
    { name: 'grant_type', value: grantType },
    ...clientFields(clientOf(permit)),
    ...fields.map(([name, value]) => ({ name, value: shown(name, value) })),
  ]
}

/** RFC 6749, section 2.3.1; RFC 7523, section 2.2; RFC 8705, section 2. */
function clientFields(client: Client | undefined): readonly Field[] {
  if (client === undefined || client.method === 'client_secret_basic') return []
  const id = { name: 'client_id', value: client.id }
  switch (client.method) {
    case 'client_secret_post':
      return [id, { name: 'client_secret', value: WITHHELD }]
    case 'private_key_jwt':
    case 'assertion_file':
      return [id, { name: 'client_assertion', value: WITHHELD }]
    default:
      return [id]
  }
}

/** What the cache's key is made of: where two requests differ in it, the one does not find the other's token. */
export function keyFields(permit: Permit): readonly Field[] {
  const { fingerprint } = permit.subject
  return keyParts(permit)
    .filter(({ value }) => value !== '' && value !== 'null')
    .map(({ name, value }) => ({
      name,
      value: value.startsWith('token:') && name === 'subject' ? `[token ${fingerprint}]` : value,
    }))
}

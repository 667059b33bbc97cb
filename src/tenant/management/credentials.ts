import { createHash, X509Certificate } from 'node:crypto'
import type { Client, Credential } from '../client.ts'
import { randomName } from '../names.ts'
import { CREDENTIAL } from './client-fields.ts'
import { Failure, invalidBody } from './failure.ts'
import { present, type View } from './kind.ts'
import { thumbprintOf } from './pem.ts'
import { object, readBody, text } from './rules.ts'

export interface NewCredential {
  readonly credential_type: Credential['credential_type']
  readonly name?: string
  readonly subject_dn?: string
  readonly pem?: string
  readonly alg?: 'RS256' | 'RS384' | 'PS256'
  readonly parse_expiry_from_cert?: boolean
  readonly expires_at?: string
  readonly kid?: string
}

/** How many credentials a client may have, in use or not. A real tenant was seen to accept no more. */
const MOST = 4

/** @throws {Failure} 400; also if the client has a key of this name, or four credentials */
function addCredential(client: Client, given: NewCredential, now: number): Credential {
  const credential = createCredential(given, now)
  if (client.credentials.length >= MOST) {
    invalidBody(`A client can have a maximum of ${MOST} credentials.`)
  }
  const { kid } = credential
  if (kid !== undefined && client.credentials.some((one) => one.kid === kid)) {
    invalidBody('A credential with the same kid already exists')
  }
  client.credentials.push(credential)
  return credential
}

/** @param now in epoch milliseconds */
export function createCredential(given: NewCredential, now: number): Credential {
  const { credential_type: type, pem, subject_dn: subject, parse_expiry_from_cert: parse } = given
  if (type === 'cert_subject_dn' ? subject === undefined && pem === undefined : pem === undefined) {
    invalidBody(`A credential of type ${type} needs a pem`)
  }
  const print = type === 'public_key' ? thumbprintOf(String(pem)) : undefined
  const certificate = pem?.includes('CERTIFICATE') === true ? certificateOf(pem) : undefined
  if (type !== 'public_key' && pem !== undefined && certificate === undefined) {
    invalidBody(`A credential of type ${type} needs a certificate`)
  }
  const expiry = given.expires_at ?? (parse === true ? certificate?.validTo : undefined)
  const at = new Date(now).toISOString()
  return present({
    id: `cred_${randomName(22)}`,
    credential_type: type,
    name: given.name,
    ...(type === 'public_key'
      ? { kid: given.kid ?? print, alg: given.alg ?? 'RS256', pem }
      : { subject_dn: subject ?? certificate?.subject, pem }),
    thumbprint_sha256: type === 'x509_cert' ? certificatePrint(certificate) : undefined,
    created_at: at,
    updated_at: at,
    expires_at: expiry === undefined ? undefined : timeOf(expiry),
  }) as unknown as Credential
}

/** @throws {Failure} 400 `invalid_body` */
function certificateOf(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    invalidBody('The pem must hold a certificate')
  }
}

/** The same hash as `x5t#S256` (RFC 8705, section 3.1). */
function certificatePrint(certificate: X509Certificate | undefined): string {
  if (certificate === undefined) invalidBody('A credential of type x509_cert needs a certificate')
  return createHash('sha256').update(certificate.raw).digest('base64url')
}

/** @throws {Failure} 400 `invalid_body` */
function timeOf(text: string): string {
  const time = new Date(text)
  if (Number.isNaN(time.getTime())) {
    invalidBody(
      `Payload validation error: 'Object didn't pass validation for format date-time: ${text}' on property expires_at.`,
    )
  }
  return time.toISOString()
}

/** The public members of a credential, without its key. */
export function credentialView(credential: Credential): View {
  const { pem: _, ...rest } = credential
  return rest
}

export function createdCredential(client: Client, body: unknown, now: number): View {
  return credentialView(addCredential(client, readBody<NewCredential>(CREDENTIAL, body), now))
}

const CHANGE = object({ expires_at: text(1) }, { required: ['expires_at'] })

export function changedCredential(credential: Credential, body: unknown, now: number): View {
  credential.expires_at = timeOf(readBody<{ expires_at: string }>(CHANGE, body).expires_at)
  credential.updated_at = new Date(now).toISOString()
  return credentialView(credential)
}

/** @throws {Failure} 404 */
export function credentialOf(client: Client, id: string): Credential {
  const found = client.credentials.find((one) => one.id === id)
  if (found !== undefined) return found
  throw new Failure(404, 'inexistent_credential', 'The credential does not exist')
}

/** @throws {Failure} 400 if the client authenticates by it */
export function removeCredential(client: Client, id: string): void {
  const methods = Object.values(client.client_authentication_methods ?? {})
  if (methods.some(({ credentials }) => credentials.some((one) => one.id === id))) {
    throw new Failure(400, 'operation_not_supported', 'The credential is in use')
  }
  client.credentials = client.credentials.filter((one) => one.id !== id)
}

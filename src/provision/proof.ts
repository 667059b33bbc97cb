import { createHash, X509Certificate } from 'node:crypto'
import type { Client } from '../config/config.ts'
import { pemOf } from './desired-servers.ts'
import { ProvisionError } from './failure.ts'
import type { Fields } from './merge.ts'
import { publicPemOf, thumbprintOf } from './thumbprint.ts'

/** By what a client proves itself, where it has no secret, under Auth0's names. */
export interface Proof {
  readonly method: 'private_key_jwt' | 'tls_client_auth' | 'self_signed_tls_client_auth'
  /** As it is made. */
  readonly credential: Fields
  /** By which members of what a tenant tells it is known: a PEM is told by none. */
  readonly known: Fields
  /** What of one that is there cannot be changed, and has to be so. */
  readonly fixed: Fields
  /** By RFC 7638; of a key alone: what Auth0 calls one that nobody named. */
  readonly keyThumbprint?: string
}

const NAME = 'Behalf'

/**
 * @param at where the client stands in the configuration, for messages
 * @returns undefined for a client with a secret
 * @throws {ProvisionError} `impossible` for what Auth0 does not offer
 */
export async function proofOf(at: string, client: Client): Promise<Proof | undefined> {
  switch (client.method) {
    case 'private_key_jwt':
      return keyProof(at, client)
    case 'tls_client_auth':
      return certificateProof(pemOf(client.certificate))
    case 'assertion_file':
      return impossible(
        `${at}.assertionFile: Auth0 trusts nobody else's assertions for a client: give it a \`secret\`, a ` +
          '`privateKey` or a `certificate`',
      )
    default:
      return undefined
  }
}

async function keyProof(
  at: string,
  client: Client & { readonly method: 'private_key_jwt' },
): Promise<Proof> {
  if (client.algorithm === 'ES256') {
    impossible(`${at}.privateKey: Auth0 takes RSA keys alone (RS256, PS256)`)
  }
  const pem = pemOf(client.privateKey)
  const keyThumbprint = await thumbprintOf(pem)
  const kid = client.keyId ?? keyThumbprint
  if (!/^[0-9a-zA-Z_-]{10,64}$/.test(kid)) {
    impossible(`${at}.keyId: Auth0 takes 10 to 64 letters, digits, \`-\` and \`_\``)
  }
  const alg = client.algorithm
  return {
    method: 'private_key_jwt',
    credential: { credential_type: 'public_key', name: NAME, pem: publicPemOf(pem), kid, alg },
    known: { credential_type: 'public_key', kid },
    fixed: { alg },
    keyThumbprint,
  }
}

/** RFC 8705: one of an authority by its subject (section 2.1), one that signed itself as it is (section 2.2). */
function certificateProof(chain: string): Proof {
  const certificate = new X509Certificate(chain)
  // Without the intermediate ones.
  const pem = certificate.toString()
  if (!isSelfSigned(certificate)) {
    return {
      method: 'tls_client_auth',
      credential: { credential_type: 'cert_subject_dn', name: NAME, pem },
      known: { credential_type: 'cert_subject_dn', subject_dn: certificate.subject },
      fixed: {},
    }
  }
  const thumbprint = createHash('sha256').update(certificate.raw).digest('base64url')
  return {
    method: 'self_signed_tls_client_auth',
    credential: { credential_type: 'x509_cert', name: NAME, pem },
    known: { credential_type: 'x509_cert', thumbprint_sha256: thumbprint },
    fixed: {},
  }
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey)
}

/** What makes a client prove itself by these, and by nothing else. */
export function authenticatedBy(method: string, credentials: readonly Fields[]): Fields {
  // Auth0 takes no list of none: a client that is left without any goes back to a secret, which nobody was told.
  return credentials.length === 0
    ? { client_authentication_methods: null, token_endpoint_auth_method: 'client_secret_post' }
    : {
        token_endpoint_auth_method: null,
        client_authentication_methods: { [method]: { credentials } },
      }
}

function impossible(message: string): never {
  throw new ProvisionError('impossible', message)
}

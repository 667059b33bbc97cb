import { createHash, X509Certificate } from 'node:crypto'
import type { Client } from '../config/config.ts'
import { pemOf } from './desired-servers.ts'
import { ProvisionError } from './failure.ts'
import type { Fields } from './merge.ts'
import { publicPemOf, thumbprintOf } from './thumbprint.ts'

/** How a client without a secret authenticates, under Auth0's names. */
export interface Proof {
  readonly method: 'private_key_jwt' | 'tls_client_auth' | 'self_signed_tls_client_auth'
  /** The credential as it is created. */
  readonly credential: Fields
  /** The members by which it is recognized in a tenant's answers, which never show a PEM. */
  readonly known: Fields
  /** The members that an existing credential must have, and that Auth0 does not change. */
  readonly fixed: Fields
  /** RFC 7638; only for keys: the `kid` that Auth0 gives a key without a name. */
  readonly keyThumbprint?: string
}

const NAME = 'Behalf'

/**
 * @param at the client's path in the configuration, for messages
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

/** RFC 8705: an authority's certificate counts by its subject (section 2.1), a self-signed one by itself (section 2.2). */
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

/** The fields that make a client authenticate by these credentials, and by nothing else. */
export function authenticatedBy(method: string, credentials: readonly Fields[]): Fields {
  // Auth0 accepts no empty list: a client without credentials goes back to a secret, which nobody has seen.
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

import { createPrivateKey, X509Certificate } from 'node:crypto'
import {
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  type CryptoKey,
  modifyAssertion,
  PrivateKeyJwt,
  TlsClientAuth,
} from 'openid-client'
import type { Client, ProofAlgorithm } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { Identity, Outbound } from '../outbound.ts'
import type { Profile } from './profiles.ts'
import { reread } from './reread.ts'

/** How a client shows one token endpoint who it is: in the request, or by the connection. */
export interface Proof {
  readonly clientId: string
  readonly authenticate: ClientAuth
  readonly outbound: Outbound
}

/**
 * For one request: what it needs of files is as it is now.
 *
 * @throws {GatewayError} `exchange_misconfigured` where there is nothing to show
 */
export type Prove = () => Promise<Proof>

export interface ProveOptions {
  readonly profile: Profile
  /** Of the token endpoint. */
  readonly url: string
  readonly outbound: Outbound
  readonly presenting: (identity: Identity) => Outbound
}

export function createProve(client: Client, options: ProveOptions): Prove {
  const by = proofBy(client, options)
  return async () => {
    try {
      return { clientId: client.id, outbound: options.outbound, ...(await by()) }
    } catch (cause) {
      throw new GatewayError('exchange_misconfigured', 'the gateway cannot show who it is', {
        cause,
      })
    }
  }
}

type Means = Pick<Proof, 'authenticate'> & Partial<Proof>

function proofBy(client: Client, options: ProveOptions): () => Means | Promise<Means> {
  switch (client.method) {
    case 'client_secret_post': {
      const means = { authenticate: ClientSecretPost(client.secret) }
      return () => means
    }
    case 'client_secret_basic': {
      const means = { authenticate: ClientSecretBasic(client.secret) }
      return () => means
    }
    case 'private_key_jwt':
      return signing(client, options)
    case 'tls_client_auth':
      return presentingOwn(client, options)
    case 'assertion_file':
      return reread(client.assertion, (text) => ({ authenticate: asserting(text.trim()) }))
  }
}

/** RFC 7523, section 2.2, with an assertion of our own for each request. */
function signing(
  { privateKey, keyId, algorithm }: Client & { readonly method: 'private_key_jwt' },
  { profile: { proofFor, keyIdMember }, url }: ProveOptions,
): () => Promise<Means> {
  return reread(privateKey, async (pem) => ({
    authenticate: PrivateKeyJwt(await importKey(pem, algorithm), {
      [modifyAssertion](header, payload) {
        if (keyId !== undefined) header[keyIdMember] = keyId
        if (proofFor === 'the token endpoint') payload['aud'] = url
      },
    }),
  }))
}

const IMPORTS = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
} as const

function importKey(pem: string, algorithm: ProofAlgorithm): Promise<CryptoKey> {
  const key = createPrivateKey(pem).export({ format: 'der', type: 'pkcs8' })
  return crypto.subtle.importKey('pkcs8', key, IMPORTS[algorithm], false, ['sign'])
}

/** RFC 8705, section 2: what is sent is the client's id; who it is, is what the connection shows. */
function presentingOwn(
  { certificate, key }: Client & { readonly method: 'tls_client_auth' },
  { url, presenting }: ProveOptions,
): () => Promise<Means> {
  const certificateNow = reread(certificate, (text) => text)
  const keyNow = reread(key, (text) => text)
  let known: Shown | undefined
  return async () => {
    if (!url.startsWith('https:')) throw new Error('no certificate can be shown without TLS')
    const identity = { certificate: await certificateNow(), key: await keyNow() }
    if (known === undefined || !isSame(known.identity, identity)) {
      known = changed(known, identity, presenting)
    }
    return known
  }
}

interface Shown extends Means {
  readonly identity: Identity
  readonly outbound: Outbound
}

function changed(
  known: Shown | undefined,
  identity: Identity,
  presenting: ProveOptions['presenting'],
): Shown {
  if (!isPair(identity)) {
    if (known === undefined) throw new Error('the certificate is not of its key')
    // One of the two files was replaced, and the other is about to be.
    return known
  }
  // What is on its way over the old connections comes to its end.
  known?.outbound.close().catch(() => undefined)
  return { identity, authenticate: TlsClientAuth(), outbound: presenting(identity) }
}

function isSame(one: Identity, other: Identity): boolean {
  return one.certificate === other.certificate && one.key === other.key
}

function isPair({ certificate, key }: Identity): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))
  } catch {
    return false
  }
}

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** RFC 7523, section 2.2, with an assertion that somebody else made. */
function asserting(assertion: string): ClientAuth {
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(assertion)) throw new Error('the file holds no JWT')
  return (_issuer, client, body) => {
    body.set('client_id', client.client_id)
    body.set('client_assertion_type', ASSERTION_TYPE)
    body.set('client_assertion', assertion)
  }
}

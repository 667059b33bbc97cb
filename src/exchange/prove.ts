import { createPrivateKey } from 'node:crypto'
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
import { type Certified, type ClientIdentity, identityOf, isCertified } from './identity.ts'
import type { Profile } from './profiles.ts'
import { reread } from './reread.ts'

/** How a client authenticates at one endpoint: in the request, or by the connection. */
export interface Proof {
  readonly clientId: string
  readonly authenticate: ClientAuth
  readonly outbound: Outbound
  /** The certificate that the connection shows, if any. */
  readonly identity?: ClientIdentity
}

/**
 * Makes the proof for one request, from files as they are now.
 *
 * @throws {GatewayError} `exchange_misconfigured` where the client has nothing to authenticate with
 */
export type Prove = () => Promise<Proof>

export interface ProveOptions {
  readonly profile: Profile
  /** The endpoint's, which is the `aud` of assertions where the profile says so. */
  readonly url: string
  readonly outbound: Outbound
  readonly presenting: (identity: Identity) => Outbound
  /** Show the client's certificate also where it authenticates in another way (RFC 8705, section 3). Default false. */
  readonly shows?: boolean
}

export function createProve(client: Client, options: ProveOptions): Prove {
  const by = proofBy(client, options)
  const shown = showsCertificate(client, options.shows) ? showing(client, options) : undefined
  return async () => {
    try {
      const { id: clientId } = client
      return { clientId, outbound: options.outbound, ...(await by()), ...(await shown?.()) }
    } catch (cause) {
      throw new GatewayError('exchange_misconfigured', 'the gateway cannot show who it is', {
        cause,
      })
    }
  }
}

/** Whether the client's connections show its certificate. */
export function showsCertificate(client: Client, shows = false): client is Certified {
  return client.method === 'tls_client_auth' || (shows && isCertified(client))
}

type Means = Pick<Proof, 'authenticate'>

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
    case 'tls_client_auth': {
      // RFC 8705, section 2: the request holds the client's id alone; the connection's certificate authenticates it.
      const means = { authenticate: TlsClientAuth() }
      return () => means
    }
    case 'assertion_file':
      return reread(client.assertion, (text) => ({ authenticate: asserting(text.trim()) }))
  }
}

/** RFC 7523, section 2.2, with a new assertion for each request, signed by the gateway. */
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

interface Shown {
  readonly identity: ClientIdentity
  readonly outbound: Outbound
}

/** Connections that show the certificate as it is now. */
function showing(client: Certified, { url, presenting }: ProveOptions): () => Promise<Shown> {
  const identityNow = identityOf(client)
  let known: Shown | undefined
  return async () => {
    if (!url.startsWith('https:')) throw new Error('no certificate can be shown without TLS')
    const identity = await identityNow.fresh()
    if (known?.identity !== identity) {
      // Requests that are on their way over the old connections still get their answers.
      known?.outbound.close().catch(() => undefined)
      known = { identity, outbound: presenting(identity) }
    }
    return known
  }
}

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** RFC 7523, section 2.2, with an assertion that the gateway did not make, but read from a file. */
function asserting(assertion: string): ClientAuth {
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(assertion)) throw new Error('the file holds no JWT')
  return (_issuer, client, body) => {
    body.set('client_id', client.client_id)
    body.set('client_assertion_type', ASSERTION_TYPE)
    body.set('client_assertion', assertion)
  }
}

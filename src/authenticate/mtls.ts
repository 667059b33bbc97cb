import { hash, X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { GatewayError } from '../errors.ts'

/** The SHA-256 of the caller's certificate, in base64url (RFC 8705, section 3.1); undefined where the caller showed none. */
export type CertificateOf = (
  request: Pick<IncomingMessage, 'socket' | 'rawHeaders'>,
) => string | undefined

/**
 * Finds the caller's certificate. From a trusted proxy it is the one that the proxy forwards in `Client-Cert` (RFC 9440) or
 * Envoy's `X-Forwarded-Client-Cert`; the proxy's own certificate does not count. From any other peer it is the certificate
 * of the connection, whose private key the peer proved in the TLS handshake; these headers are ignored. Does NOT judge who
 * issued the certificate: the listener does.
 *
 * @param isTrusted whether the peer of a connection is a trusted proxy
 * @returns a function that throws {GatewayError} `invalid_request` where a trusted proxy forwards other than one certificate
 */
export function createCertificateOf(isTrusted: (socket: Socket) => boolean): CertificateOf {
  const shown = new WeakMap<Socket, string>()
  return ({ socket, rawHeaders }) => {
    if (isTrusted(socket)) return forwarded(rawHeaders)
    const known = shown.get(socket)
    if (known !== undefined) return known
    // That there is none is not remembered: a connection may be handed over before its certificate is known.
    const thumbprint = thumbprintOf(socket)
    if (thumbprint !== undefined) shown.set(socket, thumbprint)
    return thumbprint
  }
}

function thumbprintOf(socket: Socket | TLSSocket): string | undefined {
  if (!('getPeerX509Certificate' in socket)) return undefined
  const certificate = socket.getPeerX509Certificate()
  return certificate && hash('sha256', certificate.raw, 'base64url')
}

function forwarded(rawHeaders: readonly string[]): string | undefined {
  let told: string | undefined
  let isTold = false
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toLowerCase()
    if (name !== 'client-cert' && name !== 'x-forwarded-client-cert') continue
    const value = rawHeaders[index + 1]!
    if (isTold) refuse('the certificate of the caller is told more than once')
    isTold = true
    told = name === 'client-cert' ? ofClientCert(value) : ofEnvoy(value)
  }
  return told
}

/** RFC 9440, section 2.2: the header holds the certificate in DER, as a byte sequence (RFC 8941, section 3.3.5). */
function ofClientCert(value: string): string {
  const [, base64 = ''] = /^[ \t]*:([A-Za-z0-9+/]+={0,2}):[ \t]*$/.exec(value) ?? []
  const der = Buffer.from(base64, 'base64')
  if (base64 === '' || der.toString('base64') !== base64) {
    refuse('the Client-Cert header is not one byte sequence')
  }
  return hash('sha256', der, 'base64url')
}

/**
 * Reads one element of Envoy's header: `key=value` pairs, separated by semicolons, with values quoted where they hold
 * separators. Several elements are several hops. They are refused, because nothing tells which of them is the caller: such a
 * proxy must overwrite the header (`SANITIZE_SET`).
 */
function ofEnvoy(value: string): string | undefined {
  let hexadecimal: string | undefined
  let certificate: string | undefined
  for (const [name, text] of envoyPairs(value)) {
    if (name === 'hash') hexadecimal = once(hexadecimal, text)
    else if (name === 'cert') certificate = once(certificate, text)
  }
  // An empty value means that the caller showed none: nginx sends the header all the same.
  const byHash = hexadecimal ? ofHash(hexadecimal) : undefined
  const byCertificate = certificate ? ofPem(certificate) : undefined
  if (byHash !== undefined && byCertificate !== undefined && byHash !== byCertificate) {
    refuse('the X-Forwarded-Client-Cert header names two certificates')
  }
  return byHash ?? byCertificate
}

const ENVOY_PAIR = /([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))(;|$)/y

function envoyPairs(value: string): readonly (readonly [string, string])[] {
  const pairs: [string, string][] = []
  ENVOY_PAIR.lastIndex = 0
  for (let at = 0; at < value.length; at = ENVOY_PAIR.lastIndex) {
    const [, name = '', quoted, plain = ''] =
      ENVOY_PAIR.exec(value) ?? refuse('the X-Forwarded-Client-Cert header is not one element')
    pairs.push([name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain])
  }
  return pairs
}

function once(before: string | undefined, text: string): string {
  if (before === undefined) return text
  refuse('the X-Forwarded-Client-Cert header names a part twice')
}

function ofHash(text: string): string {
  if (!/^[\da-fA-F]{64}$/.test(text)) refuse('the Hash of X-Forwarded-Client-Cert is no SHA-256')
  return Buffer.from(text, 'hex').toString('base64url')
}

/** The certificate in percent-encoded PEM. */
function ofPem(text: string): string {
  try {
    return hash('sha256', new X509Certificate(decodeURIComponent(text)).raw, 'base64url')
  } catch (cause) {
    refuse('the Cert of X-Forwarded-Client-Cert is no certificate', cause)
  }
}

function refuse(detail: string, cause?: unknown): never {
  throw new GatewayError('invalid_request', detail, { cause })
}

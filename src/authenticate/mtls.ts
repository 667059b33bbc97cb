import { hash, X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { GatewayError } from '../errors.ts'

/** The SHA-256 of the certificate that a caller showed, in base64url (RFC 8705, section 3.1); undefined where none was. */
export type CertificateOf = (
  request: Pick<IncomingMessage, 'socket' | 'rawHeaders'>,
) => string | undefined

/**
 * The certificate of the connection, whose key TLS has seen used; who issued it is for the listener to judge. From a proxy
 * that is trusted, only what it tells counts, and its own certificate is nobody's: `Client-Cert` (RFC 9440) or Envoy's
 * `X-Forwarded-Client-Cert`. From anyone else these headers are not looked at.
 *
 * @param isTrusted whether the peer of a connection is such a proxy
 * @returns what throws {GatewayError} `invalid_request` where a trusted proxy tells something else than one certificate
 */
export function createCertificateOf(isTrusted: (socket: Socket) => boolean): CertificateOf {
  const shown = new WeakMap<Socket, string>()
  return ({ socket, rawHeaders }) => {
    if (isTrusted(socket)) return forwarded(rawHeaders)
    const known = shown.get(socket)
    if (known !== undefined) return known
    // Asked anew while there is none: a connection may be handed over before it has been looked at.
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

/** RFC 9440, section 2.2: the certificate in DER, as a byte sequence (RFC 8941, section 3.3.5). */
function ofClientCert(value: string): string {
  const [, base64 = ''] = /^[ \t]*:([A-Za-z0-9+/]+={0,2}):[ \t]*$/.exec(value) ?? []
  const der = Buffer.from(base64, 'base64')
  if (base64 === '' || der.toString('base64') !== base64) {
    refuse('the Client-Cert header is not one byte sequence')
  }
  return hash('sha256', der, 'base64url')
}

/**
 * One element of Envoy's header: `key=value` pairs, separated by semicolons, values quoted where they hold separators.
 * Several elements are several hops, and nothing tells which of them the caller is: such a proxy has to set the header anew
 * (`SANITIZE_SET`).
 */
function ofEnvoy(value: string): string | undefined {
  let hexadecimal: string | undefined
  let certificate: string | undefined
  for (const [name, text] of envoyPairs(value)) {
    if (name === 'hash') hexadecimal = once(hexadecimal, text)
    else if (name === 'cert') certificate = once(certificate, text)
  }
  // What is there and empty tells that none was shown: nginx leaves out no header.
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

/** PEM, percent-encoded. */
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

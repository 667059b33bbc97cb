import { z } from 'zod'
import { pem, secret } from './values.ts'

/* The part of the schema about TLS on listeners; see `listeners.ts` and `endpoint-options.ts`. */

const identity = {
  certificate: pem().describe(
    'The certificate of the listener, followed by any intermediate ones: PEM, or the path of a file, which is read ' +
      'again when it changes.',
  ),
  key: secret().describe(
    'The private key of `certificate`: PEM, or the path of a file, which is read again when it changes. Without a ' +
      'passphrase.',
  ),
  minVersion: z
    .enum(['TLSv1.2', 'TLSv1.3'])
    .prefault('TLSv1.2')
    .describe('The lowest accepted version of TLS.'),
}

const http2 = z
  .boolean()
  .prefault(true)
  .describe('Whether clients may use HTTP/2 (RFC 9113), in addition to HTTP/1.1.')

export const tls = z
  .strictObject({
    certificate: identity.certificate,
    key: identity.key,
    clientCertificates: z
      .enum(['none', 'request'])
      .prefault('none')
      .describe(
        'Whether the gateway asks callers for a certificate (`request`), to which their tokens may be bound (RFC 8705). ' +
          'A caller without one is served, too, unless its token is bound to a certificate or must be.',
      ),
    clientAuthorities: pem()
      .optional()
      .describe(
        "With `clientCertificates: request`, the certificate authorities that must have issued callers' certificates: " +
          'PEM, or the path of a file. The connection of a caller with any other certificate is closed. Default: every ' +
          'certificate is accepted, because a token is bound to one certificate and not to its issuer (RFC 8705, section ' +
          '3).',
      ),
    minVersion: identity.minVersion,
    http2,
  })
  .optional()
  .describe(
    'TLS for callers. Default: the listener speaks plain HTTP, for a proxy in front that terminates TLS.',
  )

/** For forward-auth. Asks for no client certificates: proxies are known by their networks, and forward those of callers. */
export const forwardAuthTls = z
  .strictObject({ ...identity, http2 })
  .optional()
  .describe('TLS for the proxies that ask. Default: plain HTTP.')

/** For listeners that speak only HTTP/1.1, and authenticate by a secret or an assertion instead of a certificate. */
export const plainTls = z
  .strictObject(identity)
  .optional()
  .describe(
    'TLS for this listener; without it, its secrets travel in the clear. Default: plain HTTP.',
  )

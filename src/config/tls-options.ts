import { z } from 'zod'
import { pem, secret } from './values.ts'

/* The part of the schema about TLS on listeners; see `listeners.ts` and `endpoint-options.ts`. */

const identity = {
  certificate: pem().describe(
    'The certificate that is shown, with any intermediate ones after it: PEM, or the path of a file that holds it, which ' +
      'is read again when it changes.',
  ),
  key: secret().describe(
    'Its private key: PEM, or the path of a file that is read again when it changes, without a passphrase.',
  ),
  minVersion: z
    .enum(['TLSv1.2', 'TLSv1.3'])
    .prefault('TLSv1.2')
    .describe('The least version of TLS.'),
}

const http2 = z
  .boolean()
  .prefault(true)
  .describe('Whether HTTP/2 (RFC 9113) may be spoken, beside HTTP/1.1.')

export const tls = z
  .strictObject({
    certificate: identity.certificate,
    key: identity.key,
    clientCertificates: z
      .enum(['none', 'request'])
      .prefault('none')
      .describe(
        'Whether callers are asked for a certificate (`request`), which tokens may be bound to (RFC 8705). One that shows ' +
          'none is served as well: its token says whether it needs one.',
      ),
    clientAuthorities: pem()
      .optional()
      .describe(
        'With `clientCertificates: request`, the authorities that must have issued them: PEM, or the path of a file. The ' +
          'connection of a caller with any other certificate is ended. Absent: every certificate is taken, since a token ' +
          'is bound to one certificate and not to who issued it (RFC 8705, section 3).',
      ),
    minVersion: identity.minVersion,
    http2,
  })
  .optional()
  .describe(
    'TLS for callers. Absent: the listener speaks plain HTTP, to whoever ends TLS in front.',
  )

/** For forward-auth. Asks for no client certificates: proxies are known by their networks, and forward those of callers. */
export const forwardAuthTls = z
  .strictObject({ ...identity, http2 })
  .optional()
  .describe('TLS for the proxies that ask. Absent: plain HTTP.')

/** For listeners that speak only HTTP/1.1, and authenticate by a secret or an assertion instead of a certificate. */
export const plainTls = z
  .strictObject(identity)
  .optional()
  .describe(
    'TLS of this listener, whose secrets travel in the clear without it. Absent: plain HTTP.',
  )

import { z } from 'zod'
import { pem, secret } from './values.ts'

/* The part of the shape that is about TLS on the listener; see `listeners.ts`. */

export const tls = z
  .strictObject({
    certificate: pem().describe(
      'The certificate that callers are shown, with any intermediate ones after it: PEM, or the path of a file that ' +
        'holds it, read at the start.',
    ),
    key: secret().describe('Its private key: PEM, or the path of a file, without a passphrase.'),
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
    minVersion: z
      .enum(['TLSv1.2', 'TLSv1.3'])
      .prefault('TLSv1.2')
      .describe('The least version of TLS.'),
    http2: z
      .boolean()
      .prefault(true)
      .describe('Whether callers may speak HTTP/2 (RFC 9113), beside HTTP/1.1.'),
  })
  .optional()
  .describe(
    'TLS for callers. Absent: the listener speaks plain HTTP, to whoever ends TLS in front.',
  )

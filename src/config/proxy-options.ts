import { z } from 'zod'
import { headers } from './header-options.ts'
import { limits } from './limit-options.ts'
import { duration, path, pem, upstream } from './values.ts'

/** With more retries, an upstream that is down delays each request more than they are worth. */
const MOST_RETRIES = 5

const tls = z
  .strictObject({
    authorities: pem()
      .optional()
      .describe(
        "Certificates (PEM, or a file) that the upstreams' own are verified by, instead of those that Node brings.",
      ),
    certificate: pem()
      .optional()
      .describe(
        'The certificate that upstreams are shown, with any intermediate ones after it. Needs `key`. A file is read again ' +
          'when it changes.',
      ),
    key: pem()
      .meta({ writeOnly: true })
      .optional()
      .describe('The private key of `certificate`, without a passphrase.'),
  })
  .optional()
  .describe('How `https:` upstreams are known, and what they are shown. At least TLS 1.2.')

const websocket = z
  .strictObject({
    expiry: z
      .enum(['close', 'keep'])
      .prefault('close')
      .describe(
        'What becomes of a connection when the subject token or the issued one has expired: `close` ends it with status ' +
          '1008, `keep` leaves it to the upstream.',
      ),
    idle: duration()
      .prefault('5m')
      .describe(
        'How long nothing may pass in either direction; pings count. After it the connection ends with status 1001.',
      ),
  })
  .optional()
  .describe(
    'Takes WebSocket connections (RFC 6455), with the issued token in their handshake. Left out, they are refused; `{}` ' +
      'takes them with what stands here.',
  )

export const proxy = z
  .strictObject({
    upstream: upstream()
      .optional()
      .describe(
        'Where the request goes: origin and optional base path, or `unix:/path/of/a.sock`. This or `upstreams`.',
      ),
    upstreams: z
      .array(
        z.strictObject({
          url: upstream().describe('Where it is, as `upstream` says it.'),
          weight: z
            .int()
            .min(1)
            .max(1_000)
            .prefault(1)
            .describe('Its part of the requests, beside the weights of the others.'),
        }),
      )
      .min(1)
      .max(64)
      .optional()
      .describe(
        'Several that are alike. One that fails three times in a row gets nothing for a second, then twice as long each ' +
          'time, up to a minute; when all do, all are tried.',
      ),
    strip: path()
      .optional()
      .describe(
        "What is taken off the front of the request's path: `match.path`, or whole segments at its beginning.",
      ),
    prefix: path()
      .optional()
      .describe("What is put before the request's path, after the upstream's base path."),
    timeout: duration()
      .prefault('30s')
      .describe('How long the upstream may stay silent, before its answer begins and within it.'),
    connectTimeout: duration()
      .prefault('2s')
      .describe('How long a connection may take to come about; at most `timeout`.'),
    retries: z
      .int()
      .min(0)
      .max(MOST_RETRIES)
      .prefault(1)
      .describe(
        'How often a request is sent again that no upstream has answered: where no connection came about; where a kept ' +
          'connection ended before any answer, and where one of several upstreams answered 502, 503 or 504, if the method ' +
          'is idempotent and there is no body. At most one request in ten is sent again, and ten at once.',
      ),
    tls,
    http2: z
      .boolean()
      .prefault(false)
      .describe(
        'Whether upstreams are spoken to by HTTP/2 (RFC 9113), and nothing else: gRPC needs it. `https:` upstreams must ' +
          'agree on it (ALPN), others must expect it.',
      ),
    cookies: z
      .enum(['strip', 'keep'])
      .prefault('strip')
      .describe("Whether the caller's cookies reach the upstream."),
    headers,
    websocket,
    limits,
  })
  .describe('Where the request goes with the issued token.')

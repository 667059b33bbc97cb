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
        "The certificate authorities that verify the upstreams' certificates, in place of those of Node: PEM, or the " +
          'path of a file.',
      ),
    certificate: pem()
      .optional()
      .describe(
        'The certificate that the gateway presents to upstreams, followed by any intermediate ones: PEM, or the path of ' +
          'a file, which is read again when it changes. Needs `key`.',
      ),
    key: pem()
      .meta({ writeOnly: true })
      .optional()
      .describe('The private key of `certificate`, without a passphrase.'),
  })
  .optional()
  .describe(
    'How the gateway verifies `https:` upstreams, and what it presents to them. At least TLS 1.2.',
  )

const websocket = z
  .strictObject({
    expiry: z
      .enum(['close', 'keep'])
      .prefault('close')
      .describe(
        'What happens to a connection when the subject token or the issued token has expired: `close` closes it with ' +
          'status 1008, `keep` leaves it to the upstream.',
      ),
    idle: duration()
      .prefault('5m')
      .describe(
        'How long a connection may be silent in both directions; pings count as traffic. After that it is closed with ' +
          'status 1001.',
      ),
  })
  .optional()
  .describe(
    'Accepts WebSocket connections (RFC 6455), with the issued token in the handshake. `{}` accepts them with the ' +
      'defaults below. Default: they are refused.',
  )

export const proxy = z
  .strictObject({
    upstream: upstream()
      .optional()
      .describe(
        'Where requests go: an origin with an optional base path, or `unix:/path/of/a.sock`. Exactly one of `upstream` ' +
          'and `upstreams` is needed.',
      ),
    upstreams: z
      .array(
        z.strictObject({
          url: upstream().describe('Where this upstream is, in the form of `upstream`.'),
          weight: z
            .int()
            .min(1)
            .max(1_000)
            .prefault(1)
            .describe('Its share of the requests, relative to the weights of the others.'),
        }),
      )
      .min(1)
      .max(64)
      .optional()
      .describe(
        'Several equivalent upstreams. One that fails three times in a row gets no requests for a second, then for twice ' +
          'as long each time, up to a minute. While all of them are paused, all are tried.',
      ),
    strip: path()
      .optional()
      .describe(
        "The part to remove from the front of the request's path: `match.path`, or whole segments at its beginning.",
      ),
    prefix: path()
      .optional()
      .describe("The part to put before the request's path, after the upstream's base path."),
    timeout: duration()
      .prefault('30s')
      .describe('How long the upstream may be silent, before its answer begins and within it.'),
    connectTimeout: duration()
      .prefault('2s')
      .describe('How long opening a connection may take; at most `timeout`.'),
    retries: z
      .int()
      .min(0)
      .max(MOST_RETRIES)
      .prefault(1)
      .describe(
        'How many times a request that no upstream has answered is sent again at most. Any request is sent again if no ' +
          'connection could be made. A request with an idempotent method and no body is also sent again if a kept ' +
          'connection ended before an answer, or if one of several upstreams answered 502, 503 or 504. At most one ' +
          'request in ten is sent again, and ten at once.',
      ),
    tls,
    http2: z
      .boolean()
      .prefault(false)
      .describe(
        'Whether the gateway uses HTTP/2 (RFC 9113), and nothing else, to upstreams: gRPC needs it. `https:` upstreams ' +
          'must agree to it (ALPN); others must expect it.',
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

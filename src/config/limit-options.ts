import { z } from 'zod'
import { duration, size } from './values.ts'

/* The part of the schema about limits; see `schema.ts`. */

/** Far below the number of header lines (a thousand or so) beyond which Node silently drops the rest. */
const MOST_HEADERS = 500
const MOST_HEADER_BYTES = 16_384

const rate = z.strictObject({
  by: z
    .enum(['subject', 'client', 'address'])
    .describe(
      "What requests are counted by: the token's subject, the client that the token was issued to, or the client " +
        'address according to `server.trustedProxies` (for IPv6, its `/64`).',
    ),
  rate: z
    .number()
    .positive()
    .max(1_000_000)
    .describe(
      'The most requests per second, for all replicas together: each process counts its share, `rate / (replicas x ' +
        'workers)`.',
    ),
  burst: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe(
      'How many requests may come at once. Default: the number for one second, at least 1.',
    ),
})

export const limits = z
  .strictObject({
    body: size()
      .optional()
      .describe(
        'The largest request body. A larger one is refused with 413, before any of it is read if its length is declared. ' +
          'Default: no limit, because bodies are streamed and take no memory.',
      ),
    headers: size()
      .refine(
        (bytes) => bytes >= 1_024 && bytes <= MOST_HEADER_BYTES,
        'must be between 1KiB and 16KiB, which is what the listener takes',
      )
      .optional()
      .describe(
        'The largest header section of a request: names and values. A larger one is refused with 431. Default: the limit ' +
          'of the listener, `16KiB`.',
      ),
    headerCount: z
      .int()
      .min(1)
      .max(MOST_HEADERS)
      .prefault(100)
      .describe('How many header lines a request may have. More are refused with 431.'),
    idle: duration()
      .prefault('30s')
      .describe(
        'How long a caller may pause: while it sends a body that the upstream waits for (408), or while it reads the ' +
          'answer (its connection is closed).',
      ),
    total: duration()
      .optional()
      .describe(
        'How long a request may take in all, until the caller has read the answer. After that: 408 if the body had not ' +
          'arrived completely, 504 if the answer had not begun, otherwise the connection is closed. For a WebSocket, only ' +
          'the handshake counts. Default: no limit.',
      ),
    rates: z
      .array(rate)
      .prefault([])
      .describe(
        'How often each caller may send requests, across all listeners; at most one entry for each `by`. More are ' +
          'refused with 429 `rate_limited` and `Retry-After`. 100 000 callers are remembered; beyond that, the least ' +
          'recent one is forgotten, and its count starts again.',
      ),
    inFlight: z
      .int()
      .min(1)
      .optional()
      .describe(
        'How many requests of the route may be in progress at once; an open WebSocket counts as one. This bounds the ' +
          'connections to its upstreams. More are refused with 503 `overloaded`. Default: only `server.limits.inFlight` ' +
          'applies, which counts all routes together.',
      ),
  })
  .prefault({})
  .describe("Limits on the size, duration and number of the route's requests.")

export const serverLimits = z
  .strictObject({
    connections: z
      .int()
      .min(1)
      .prefault(10_000)
      .describe(
        'How many connections callers may have open at once. A further connection gets 503 `overloaded` and is ' +
          'closed before any request on it is read; over TLS it is closed without an answer.',
      ),
    inFlight: z
      .int()
      .min(1)
      .prefault(10_000)
      .describe(
        'How many requests may be in progress at once, across all listeners; an open WebSocket counts as one. More are ' +
          'refused with 503 `overloaded`.',
      ),
    pipelined: z
      .int()
      .min(1)
      .prefault(64)
      .describe(
        'How many requests may wait behind another on one connection. One more is refused with 503, and the connection ' +
          'is closed.',
      ),
    loopDelay: duration()
      .prefault('1s')
      .describe(
        'How far the event loop may fall behind. The gateway takes the median delay of each quarter of a second: after ' +
          'two in a row above this limit, all requests are refused with 503 `overloaded`, until a median is below it again.',
      ),
  })
  .prefault({})
  .describe('Limits that protect the process from overload.')

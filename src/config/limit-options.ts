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
      "Who is counted: the token's subject, the client that it was issued to, or the address that the request comes from, " +
        'as `server.trustedProxies` tell it (of IPv6 the `/64`).',
    ),
  rate: z
    .number()
    .positive()
    .max(1_000_000)
    .describe(
      'Requests per second, for all replicas together: each process counts its share, `rate / (replicas x workers)`.',
    ),
  burst: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe('How many may come at once. Default: those of one second, at least 1.'),
})

export const limits = z
  .strictObject({
    body: size()
      .optional()
      .describe(
        'The largest body of a request. Beyond it 413, before anything of it is read where its length is told. Default: any: bodies are streamed, and cost no memory.',
      ),
    headers: size()
      .refine(
        (bytes) => bytes >= 1_024 && bytes <= MOST_HEADER_BYTES,
        'must be between 1KiB and 16KiB, which is what the listener takes',
      )
      .optional()
      .describe(
        'The largest header section of a request: names and values. Beyond it 431. Default: what the listener takes, `16KiB`.',
      ),
    headerCount: z
      .int()
      .min(1)
      .max(MOST_HEADERS)
      .prefault(100)
      .describe('How many header lines a request may have. Beyond it 431.'),
    idle: duration()
      .prefault('30s')
      .describe(
        'How long a caller may pause, in sending the body that the upstream waits for (408), or in reading the answer (its ' +
          'connection is cut).',
      ),
    total: duration()
      .optional()
      .describe(
        'How long a request may take in all, until its answer has been read: 408 where the body had not come whole, 504 ' +
          'where the answer had not begun, else the connection is cut. Of a WebSocket only the handshake. Default: any time.',
      ),
    rates: z
      .array(rate)
      .prefault([])
      .describe(
        'How often each caller may come, at all doors; at most one of each `by`. Beyond it 429 `rate_limited` with ' +
          '`Retry-After`. 100 000 callers are remembered, the least recent of which begins anew.',
      ),
    inFlight: z
      .int()
      .min(1)
      .optional()
      .describe(
        "How many of the route's requests may be under way at once; an open WebSocket is one. It bounds the connections to its " +
          'upstreams. Beyond it 503 `overloaded`. Default: `server.limits.inFlight`, for all routes together.',
      ),
  })
  .prefault({})
  .describe('How much of a request, and how many of them, is taken.')

export const serverLimits = z
  .strictObject({
    connections: z
      .int()
      .min(1)
      .prefault(10_000)
      .describe(
        'How many connections callers may have open at once. Beyond it 503 `overloaded`, without a look at the request; over ' +
          'TLS the connection is closed.',
      ),
    inFlight: z
      .int()
      .min(1)
      .prefault(10_000)
      .describe(
        'How many requests may be under way at once, at all doors; an open WebSocket is one. Beyond it 503 `overloaded`.',
      ),
    pipelined: z
      .int()
      .min(1)
      .prefault(64)
      .describe(
        'How many requests may wait on one connection behind another. Beyond it 503, and the connection ends.',
      ),
    loopDelay: duration()
      .prefault('1s')
      .describe(
        'How late the process may run, as the median of a quarter of a second, twice in a row. Beyond it requests get 503 ' +
          '`overloaded` at once, until it is below again.',
      ),
  })
  .prefault({})
  .describe('How much the process takes.')

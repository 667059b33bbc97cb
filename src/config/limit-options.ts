import { z } from 'zod'
import { duration, size } from './values.ts'

/* The part of the shape that is about how much is taken; see `schema.ts`. */

/** Node drops what stands beyond a thousand lines or so, and says nothing. */
const MOST_HEADERS = 500

export const limits = z
  .strictObject({
    body: size()
      .optional()
      .describe(
        'The largest body of a request. Beyond it 413, before anything of it is read where its length is told. Default: any: bodies are streamed, and cost no memory.',
      ),
    headers: size()
      .refine((bytes) => bytes >= 1_024, 'must be at least 1KiB')
      .optional()
      .describe(
        'The largest header section of a request: names and values. Beyond it 431. Default: `server.limits.headers`.',
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
  })
  .prefault({})
  .describe('How much of a request is taken.')

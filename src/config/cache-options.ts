import { z } from 'zod'
import { redis } from './redis-options.ts'
import { size } from './values.ts'

/* The part of the schema about caches; see `schema.ts`. */

export const cache = z
  .strictObject({
    maxEntries: z
      .int()
      .min(1)
      .max(100_000_000)
      .prefault(100_000)
      .describe(
        'How many issued tokens are kept in memory. The least recently used token is dropped first.',
      ),
    maxBytes: size()
      .refine((bytes) => bytes >= 65_536, 'must be at least 64KiB')
      .prefault('256MiB')
      .describe(
        'The most memory for kept tokens: three quarters for issued tokens, one quarter for verified ones.',
      ),
    redis,
  })
  .prefault({})
  .describe('How much is kept in memory, and what replicas share.')

export type CacheInput = z.output<typeof cache>

import { z } from 'zod'
import { durationText } from './units.ts'
import { checked, duration, secret, size } from './values.ts'

/* The part of the shape that is about what is kept; see `schema.ts`. */

const LONGEST_TIMEOUT_MS = 10_000
const KEY_BYTES = 32

/** Its password makes the whole a secret. */
function redisUrl() {
  return checked('URL', (written) => {
    const parts = URL.canParse(written) ? new URL(written) : undefined
    if (parts === undefined || !['redis:', 'rediss:'].includes(parts.protocol)) {
      return 'must be a URL such as `redis://127.0.0.1:6379` or, with TLS, `rediss://user:password@redis.example`'
    }
    if (parts.hostname === '') return 'must name a host'
    if (!/^(\/(\d{1,5})?)?$/.test(parts.pathname))
      return 'must have the number of a database as its path, or none'
    return parts.search + parts.hash === '' ? undefined : 'must have neither query nor fragment'
  }).meta({ writeOnly: true })
}

function sealingKey() {
  return secret().refine(
    isSealingKey,
    'must be base64 of 32 random bytes: `openssl rand -base64 32`',
  )
}

/** In one spelling only, and nothing that nobody would have got from a source of random bytes. */
function isSealingKey(written: string): boolean {
  const bytes = Buffer.from(written, 'base64')
  const isCanonical = bytes.length === KEY_BYTES && bytes.toString('base64') === written
  return isCanonical && new Set(bytes).size > KEY_BYTES / 4
}

const redis = z
  .strictObject({
    url: redisUrl().describe(
      'Where Redis or Valkey is, one server or what stands for one: `redis://`, or `rediss://` for TLS, with `user:password@` ' +
        'and the number of the database as its path where needed. Danger: over `redis://` the password travels in the clear.',
    ),
    sealingKeys: z
      .array(sealingKey())
      .min(1)
      .max(3)
      .refine((keys) => new Set(keys).size === keys.length, 'must not repeat a key')
      .describe(
        'What is kept in Redis is sealed with: base64 of 32 random bytes each, the same in all replicas. The first seals, ' +
          'each opens: a new one is added last, then put first, and the old one removed a day later.',
      ),
    shareContext: z
      .boolean()
      .prefault(false)
      .describe(
        'Share also the issued tokens of routes with `key: context` and `grant: client-credentials`. Danger: whoever has a ' +
          'sealing key and what Redis keeps can open these; the others take the subject token, too.',
      ),
    timeout: duration({ most: LONGEST_TIMEOUT_MS })
      .prefault('20ms')
      .describe(
        `How long an answer of Redis is waited for, at most \`${durationText(LONGEST_TIMEOUT_MS)}\`. After it the request goes on without.`,
      ),
    protocol: z
      .union([z.literal(2), z.literal(3)])
      .prefault(3)
      .describe(
        'The version of the protocol (RESP). 2 for servers and proxies that do not know 3.',
      ),
  })
  .optional()
  .describe(
    'A second level that several replicas share: what one of them exchanged the others need not. Absent: each replica keeps ' +
      'its own.',
  )

export const cache = z
  .strictObject({
    maxEntries: z
      .int()
      .min(1)
      .max(100_000_000)
      .prefault(100_000)
      .describe('How many issued tokens are kept; the least recently used goes first.'),
    maxBytes: size()
      .refine((bytes) => bytes >= 65_536, 'must be at least 64KiB')
      .prefault('256MiB')
      .describe('What everything kept may weigh: issued tokens, and a quarter for verified ones.'),
    redis,
  })
  .prefault({})
  .describe('How much is kept in memory, and what replicas share.')

export type CacheInput = z.output<typeof cache>

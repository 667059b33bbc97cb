import { z } from 'zod'
import { durationText } from './units.ts'
import { checked, duration, pem, secret, socketProblem, text } from './values.ts'

/* The part of the schema about Redis; see `schema.ts`. */

const LONGEST_TIMEOUT_MS = 10_000
const KEY_BYTES = 32
const MOST_NODES = 64
const MOST_DATABASE = 65_535

const EXAMPLE = '`redis://127.0.0.1:6379` or, with TLS, `rediss://user:password@redis.example`'

/** A URL that may hold a password, so that all of it is treated as a secret. */
function redisUrl() {
  return checked('URL', (written) => {
    if (written.startsWith('unix:')) return socketProblem(written.slice('unix:'.length))
    const problem = addressProblem(written)
    if (problem !== undefined) return problem
    const { pathname, username, password } = new URL(written)
    if (!/^(\/(\d{1,5})?)?$/.test(pathname))
      return 'must have the number of a database as its path, or none'
    if (!isDecodable(username) || !isDecodable(password)) return 'must be percent-encoded well'
    return username !== '' && password === ''
      ? 'must not name a user without a password'
      : undefined
  }).meta({ writeOnly: true })
}

/** The URL of one node of several, which all have the same credentials. */
function nodeUrl() {
  return checked('URL', (written) => {
    const problem = addressProblem(written)
    if (problem !== undefined) return problem
    const { username, password, pathname } = new URL(written)
    if (username !== '' || password !== '') {
      return 'must not hold credentials: `user` and `password` are for all of them'
    }
    return pathname === '' || pathname === '/' ? undefined : 'must not have a path'
  })
}

function addressProblem(written: string): string | undefined {
  const parts = URL.canParse(written) ? new URL(written) : undefined
  if (parts === undefined || !['redis:', 'rediss:'].includes(parts.protocol)) {
    return `must be a URL such as ${EXAMPLE}`
  }
  if (parts.hostname === '') return 'must name a host'
  return parts.search + parts.hash === '' ? undefined : 'must have neither query nor fragment'
}

function isDecodable(written: string): boolean {
  try {
    decodeURIComponent(written)
    return true
  } catch {
    return false
  }
}

function nodes() {
  return z
    .array(nodeUrl())
    .min(1)
    .max(MOST_NODES)
    .refine((urls) => new Set(urls).size === urls.length, 'must not repeat a node')
}

function sealingKey() {
  return secret().refine(
    isSealingKey,
    'must be base64 of 32 random bytes: `openssl rand -base64 32`',
  )
}

/** Whether the text is canonical base64 of 32 bytes with more than eight different values: random bytes always have more. */
function isSealingKey(written: string): boolean {
  const bytes = Buffer.from(written, 'base64')
  const isCanonical = bytes.length === KEY_BYTES && bytes.toString('base64') === written
  return isCanonical && new Set(bytes).size > KEY_BYTES / 4
}

const sentinel = z
  .strictObject({
    name: text().describe('What the Sentinels call the master.'),
    nodes: nodes().describe(
      'Where they are: `redis://` or `rediss://`, port 26379 unless said. All are asked; most of them decide.',
    ),
    user: text().optional().describe('The ACL user at the Sentinels themselves. Needs `password`.'),
    password: secret()
      .optional()
      .describe('The password at the Sentinels themselves. Left out: they ask for none.'),
  })
  .optional()
  .describe('Sentinels that know which server is the master. This, `url` or `cluster`.')

const tls = z
  .strictObject({
    authorities: pem()
      .optional()
      .describe(
        "Certificates (PEM, or a file) that the servers' own are verified by, instead of those that Node brings.",
      ),
    certificate: pem()
      .optional()
      .describe(
        'The certificate that servers are shown, with any intermediate ones after it. Needs `key`. A file is read again for ' +
          'each connection.',
      ),
    key: pem()
      .meta({ writeOnly: true })
      .optional()
      .describe('The private key of `certificate`, without a passphrase.'),
    serverName: text()
      .optional()
      .describe(
        "What the servers' certificates must be for, where that is not the host of their address: Sentinels and Clusters " +
          'tell addresses, certificates often have names.',
      ),
  })
  .optional()
  .describe('How `rediss:` servers are known, and what they are shown. At least TLS 1.2.')

export const redis = z
  .strictObject({
    url: redisUrl()
      .optional()
      .describe(
        'Where Redis or Valkey is, one server or what stands for one: `redis://`, or `rediss://` for TLS, with `user:password@` ' +
          'and the number of the database as its path where needed; or `unix:/path/of/a.sock`. Danger: over `redis://` the ' +
          'password travels in the clear. This, `cluster` or `sentinel`.',
      ),
    cluster: nodes()
      .optional()
      .describe(
        'Some nodes of a Cluster: `redis://` or `rediss://`. The others are learned from them. This, `url` or `sentinel`.',
      ),
    sentinel,
    user: text()
      .optional()
      .describe('The ACL user, where `url` does not hold it. Left out: the default user.'),
    password: secret().optional().describe('The password, where `url` does not hold it.'),
    database: z
      .int()
      .min(0)
      .max(MOST_DATABASE)
      .optional()
      .describe(
        'The number of the database with `sentinel` or a socket; in a `redis://` URL it is the path. Left out: 0.',
      ),
    tls,
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
        'Share also the issued tokens of routes with `key: context` and `grant: client-credentials`, and with `renew: ' +
          'refresh-token` let refreshed subject tokens find the refresh token of those before them. Danger: whoever has a ' +
          'sealing key and what Redis keeps can open these; the others take the subject token, too.',
      ),
    timeout: duration({ most: LONGEST_TIMEOUT_MS })
      .prefault('20ms')
      .describe(
        `How long an answer of Redis is waited for, at most \`${durationText(LONGEST_TIMEOUT_MS)}\`. After it the request goes on ` +
          'without. Time in which the process itself was late does not count, up to 25 times as long.',
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

export type RedisInput = NonNullable<z.output<typeof redis>>

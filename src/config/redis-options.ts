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
    name: text().describe('The name by which the Sentinels know the master.'),
    nodes: nodes().describe(
      'The addresses of the Sentinels: `redis://` or `rediss://`, port 26379 by default. The gateway asks all of them, ' +
        'and takes the master that most of them name.',
    ),
    user: text().optional().describe('The ACL user at the Sentinels themselves. Needs `password`.'),
    password: secret()
      .optional()
      .describe('The password at the Sentinels themselves. Default: none.'),
  })
  .optional()
  .describe(
    'Sentinels that know which server is the master. Exactly one of `url`, `cluster` and `sentinel` is needed.',
  )

const tls = z
  .strictObject({
    authorities: pem()
      .optional()
      .describe(
        "The certificate authorities that verify the servers' certificates, in place of those of Node: PEM, or the path " +
          'of a file.',
      ),
    certificate: pem()
      .optional()
      .describe(
        'The certificate that the gateway presents to servers, followed by any intermediate ones: PEM, or the path of a ' +
          'file, which is read again for each connection. Needs `key`.',
      ),
    key: pem()
      .meta({ writeOnly: true })
      .optional()
      .describe('The private key of `certificate`, without a passphrase.'),
    serverName: text()
      .optional()
      .describe(
        "The name that the servers' certificates must be for. Set it where that is not the host of their address: " +
          'Sentinels and Clusters often give IP addresses, while certificates often hold names. Default: the host of the ' +
          'address.',
      ),
  })
  .optional()
  .describe(
    'How the gateway verifies `rediss:` servers, and what it presents to them. At least TLS 1.2.',
  )

export const redis = z
  .strictObject({
    url: redisUrl()
      .optional()
      .describe(
        'The address of Redis or Valkey, one server or a proxy that acts as one: `redis://`, or `rediss://` for TLS, ' +
          'with `user:password@` and the number of the database as its path where needed; or `unix:/path/of/a.sock`. ' +
          'Danger: over `redis://` the password travels in the clear. Exactly one of `url`, `cluster` and `sentinel` is ' +
          'needed.',
      ),
    cluster: nodes()
      .optional()
      .describe(
        'Some nodes of a Cluster: `redis://` or `rediss://`. The gateway learns the others from them. Exactly one of ' +
          '`url`, `cluster` and `sentinel` is needed.',
      ),
    sentinel,
    user: text()
      .optional()
      .describe('The ACL user, where `url` does not contain it. Default: the default user.'),
    password: secret().optional().describe('The password, where `url` does not contain it.'),
    database: z
      .int()
      .min(0)
      .max(MOST_DATABASE)
      .optional()
      .describe(
        'The number of the database, with `sentinel` or a socket; a `redis://` URL has it as its path. Default: 0.',
      ),
    tls,
    sealingKeys: z
      .array(sealingKey())
      .min(1)
      .max(3)
      .refine((keys) => new Set(keys).size === keys.length, 'must not repeat a key')
      .describe(
        'The keys that seal everything that is kept in Redis: base64 of 32 random bytes each, the same in all replicas. ' +
          'The first key seals, and each of them opens. To replace a key, add the new one last, then put it first, and ' +
          'remove the old one a day later.',
      ),
    shareContext: z
      .boolean()
      .prefault(false)
      .describe(
        'Also share the issued tokens of routes with `key: context` and `grant: client-credentials`; with `renew: ' +
          'refresh-token`, let a refreshed subject token use the refresh token of the one before it. Danger: anyone who ' +
          'has a sealing key and the contents of Redis can open these; to open the others takes the subject token, too.',
      ),
    timeout: duration({ most: LONGEST_TIMEOUT_MS })
      .prefault('20ms')
      .describe(
        `How long the gateway waits for an answer of Redis, at most \`${durationText(LONGEST_TIMEOUT_MS)}\`. After that, ` +
          'the request continues without Redis. Time in which the process itself was late does not count: in a busy ' +
          'process, a wait may last up to 25 times as long.',
      ),
    protocol: z
      .union([z.literal(2), z.literal(3)])
      .prefault(3)
      .describe(
        'The version of the protocol (RESP). Use 2 for servers and proxies that do not support 3.',
      ),
  })
  .optional()
  .describe(
    'A second level of the cache that several replicas share, so that a token which one of them has exchanged need ' +
      'not be exchanged by the others. Default: each replica keeps its own tokens only.',
  )

export type RedisInput = NonNullable<z.output<typeof redis>>

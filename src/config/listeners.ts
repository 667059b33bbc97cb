import { z } from 'zod'
import { serverLimits } from './limit-options.ts'
import { plainTls, tls } from './tls-options.ts'
import { askedHost, duration, listenAddress, network, oneOrMany, origin, secret } from './values.ts'

/* The part of the schema about listeners; see `schema.ts`. */

const MOST_WORKERS = 256
const WORKERS = `must be a whole number up to ${MOST_WORKERS}, or \`auto\``

const workers = z
  .union([z.int().min(1).max(MOST_WORKERS), z.string().regex(/^auto$/, WORKERS)], {
    error: WORKERS,
  })
  .prefault(1)
  .describe(
    'How many processes of one `behalf serve` take requests, for several cores; `auto`: as many as there are. Each has ' +
      'its own cache and limits; the budgets, and the DPoP proofs that were used, are one for all of them.',
  )

const drain = z
  .strictObject({
    delay: duration({ least: 0 })
      .prefault('5s')
      .describe('How long requests are still accepted after SIGTERM, so that balancers notice.'),
    timeout: duration({ least: 0 })
      .prefault('25s')
      .describe('How long requests in flight may take after that.'),
  })
  .prefault({})
  .describe('How the gateway ends.')

export const server = z
  .strictObject({
    listen: listenAddress()
      .prefault('127.0.0.1:8080')
      .describe('Where callers are served: address and port. Port 0 takes a free one.'),
    publicOrigin: oneOrMany(origin())
      .optional()
      .describe(
        'The origins that callers reach the gateway by, one or a list. Never taken from the Host header, which a caller ' +
          'can write as it likes.',
      ),
    trustedProxies: z
      .array(network())
      .prefault([])
      .describe(
        'Networks (CIDR) of the proxies in front, whose `Forwarded` and `X-Forwarded-*` headers are kept, and whose ' +
          "`Client-Cert` or `X-Forwarded-Client-Cert` tells the caller's certificate. Everybody else's are replaced. " +
          'Danger: whoever is in these networks can name any client address and any certificate.',
      ),
    replicas: z
      .int()
      .min(1)
      .max(10_000)
      .prefault(1)
      .describe(
        'How many times `behalf serve` runs with this configuration. Each takes its share of the budgets, ' +
          '`rate / replicas`, for all its `workers` together, unless they share `cache.redis`, and while Redis does not answer.',
      ),
    workers,
    limits: serverLimits,
    drain,
    tls,
  })
  .prefault({})
  .describe('The listener for callers.')

export const admin = z
  .strictObject({
    listen: listenAddress()
      .prefault('127.0.0.1:8081')
      .describe(
        'Where operators are served: `/livez`, `/readyz` and `/metrics`. Beyond loopback only with `token`.',
      ),
    token: secret()
      .optional()
      .describe(
        'The bearer token that everything but `/livez`, `/readyz` and `/metrics` asks for. Required beyond loopback.',
      ),
    allowedHosts: z
      .array(askedHost())
      .prefault([])
      .describe(
        'The names that the listener is asked by, in lower case and without a port; `*.example` stands for one label. ' +
          'Addresses, `localhost` and the host of `listen` need no listing. By any other name there is nothing but `/livez` ' +
          "and `/readyz`, without details, so that no page in an operator's browser can read the answers (DNS rebinding). " +
          'Danger: who owns a listed name, or one below a `*`, can let it lead here.',
      ),
    tls: plainTls,
  })
  .prefault({})
  .describe('The listener for operators.')

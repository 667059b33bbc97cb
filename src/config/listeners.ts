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
    'How many processes of one `behalf serve` handle requests, to use several cores; `auto`: one for each core. Each ' +
      'process has its own cache and limits; all of them share the budgets and the record of used DPoP proofs.',
  )

const drain = z
  .strictObject({
    delay: duration({ least: 0 })
      .prefault('5s')
      .describe(
        'How long the gateway still accepts requests after SIGTERM, so that load balancers have time to notice.',
      ),
    timeout: duration({ least: 0 })
      .prefault('25s')
      .describe('How long requests in progress may take after `delay`.'),
  })
  .prefault({})
  .describe('How the gateway shuts down.')

export const server = z
  .strictObject({
    listen: listenAddress()
      .prefault('127.0.0.1:8080')
      .describe('The address and port for callers. Port 0 takes a free one.'),
    publicOrigin: oneOrMany(origin())
      .optional()
      .describe(
        'The origins under which callers reach the gateway, one or a list. They are never taken from the Host header, ' +
          'because a caller can send any.',
      ),
    trustedProxies: z
      .array(network())
      .prefault([])
      .describe(
        'Networks (CIDR) of the proxies in front of the gateway. Their `Forwarded` and `X-Forwarded-*` headers are kept, ' +
          "and their `Client-Cert` or `X-Forwarded-Client-Cert` supplies the caller's certificate. From all other " +
          'addresses, these headers are replaced. Danger: anyone in these networks can claim any client address and any ' +
          'certificate.',
      ),
    replicas: z
      .int()
      .min(1)
      .max(10_000)
      .prefault(1)
      .describe(
        'How many times `behalf serve` runs with this configuration. Each replica takes its share of the budgets, `rate ' +
          '/ replicas`, for all its `workers` together. Replicas that share `cache.redis` do so only while Redis does not ' +
          'answer.',
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
        'The address and port for operators: `/livez`, `/readyz` and `/metrics`. An address beyond loopback needs ' +
          '`token`.',
      ),
    token: secret()
      .optional()
      .describe(
        'The bearer token that every path but `/livez`, `/readyz` and `/metrics` requires. Required beyond loopback.',
      ),
    allowedHosts: z
      .array(askedHost())
      .prefault([])
      .describe(
        'The host names under which operators reach the listener, in lower case and without a port; `*.example` ' +
          'stands for one label. IP addresses, `localhost` and the host of `listen` need not be listed. Under any ' +
          "other name, only `/livez` and `/readyz` answer, without details, so that no web page in an operator's " +
          'browser can read the answers (DNS rebinding). Danger: the owner of a listed name, or of one that a `*` ' +
          'matches, can point it at this listener.',
      ),
    tls: plainTls,
  })
  .prefault({})
  .describe('The listener for operators.')

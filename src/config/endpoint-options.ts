import { z } from 'zod'
import { listenAddress, network } from './values.ts'

/* The part of the shape that is about the other doors to the path; how they go together is judged in `endpoints.ts`. */

const forwardAuth = z
  .strictObject({
    listen: listenAddress()
      .prefault('127.0.0.1:8082')
      .describe('Where proxies ask: address and port. Nobody else should reach it.'),
    original: z
      .enum(['headers', 'path'])
      .describe(
        'Where the original request is named. `headers`: in `X-Forwarded-Method`, `X-Forwarded-Host` and ' +
          '`X-Forwarded-Uri`, each exactly once, with `/forward-auth` as the path (nginx, Traefik, Caddy, HAProxy). `path`: ' +
          'behind `/forward-auth`, with the method and the Host of the request itself; those headers are not looked at ' +
          '(Envoy). There is no default: a proxy that sends the one and is read by the other lets callers choose.',
      ),
    trustedProxies: z
      .array(network())
      .min(1)
      .prefault(['127.0.0.1/32', '::1/128'])
      .describe(
        'Networks (CIDR) of the proxies that may ask. Danger: whoever is in these networks gets issued tokens for what ' +
          'callers gave it.',
      ),
  })
  .optional()
  .describe(
    'For proxies that forward by themselves, and ask here which token a request goes on with.',
  )

export const endpoints = z
  .strictObject({ forwardAuth })
  .prefault({})
  .describe('Other doors to the same routes, each with a listener of its own.')

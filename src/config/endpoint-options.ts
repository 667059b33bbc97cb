import { z } from 'zod'
import { forwardAuthTls, plainTls } from './tls-options.ts'
import { listenAddress, network, text } from './values.ts'

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
    tls: forwardAuthTls,
  })
  .optional()
  .describe(
    'For proxies that forward by themselves, and ask here which token a request goes on with.',
  )

const token = z
  .strictObject({
    listen: listenAddress()
      .prefault('127.0.0.1:8083')
      .describe('Where services ask: address and port, with `POST /token`.'),
    routes: z
      .array(text())
      .min(1)
      .describe('The routes whose tokens are handed out, by name. No other can be asked for.'),
    clients: z
      .enum(['required', 'none'])
      .prefault('required')
      .describe(
        "Whether who asks must authenticate as the client of the route's API, by its secret. `none` is for loopback only. " +
          'Danger: then every process of this machine that has a token can exchange it.',
      ),
    tls: plainTls,
  })
  .optional()
  .describe('For services that only want the issued token: a token endpoint (RFC 8693).')

export const endpoints = z
  .strictObject({ forwardAuth, token })
  .prefault({})
  .describe('Other doors to the same routes, each with a listener of its own.')

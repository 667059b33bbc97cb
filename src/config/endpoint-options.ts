import { z } from 'zod'
import { forwardAuthTls, plainTls } from './tls-options.ts'
import { listenAddress, name, network, pem, text } from './values.ts'

/* The part of the schema about the other doors to the path; `endpoints.ts` judges how the options go together. */

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

const callerKey = z.strictObject({
  publicKey: pem().describe(
    'The public key: PEM (`BEGIN PUBLIC KEY`), or the path of a file that holds it, which is read whenever the configuration ' +
      'is. RSA of 2048 bits or more, or P-256.',
  ),
  keyId: text()
    .optional()
    .describe('What the `kid` of an assertion must be, if it has one. Default: anything.'),
  algorithm: z
    .enum(['RS256', 'PS256', 'ES256'])
    .optional()
    .describe(
      'How assertions are signed with it; no other way is taken. Default: `RS256` with an RSA key, `ES256` with one of P-256.',
    ),
})

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
        "Whether who asks must authenticate as the client of the route's API: by its secret, or by an assertion that is signed " +
          'with its `privateKey` (`private_key_jwt`, RFC 7523) or with a key of `callers`. `none` is for loopback only. ' +
          'Danger: then every process of this machine that has a token can exchange it.',
      ),
    callers: z
      .record(name(), z.array(callerKey).min(1))
      .optional()
      .describe(
        'For APIs of the listed routes, by name: the public keys of who asks as their client, and signs who it is with a key ' +
          "of its own. The client's secret or private key is then not taken from anybody, and is known to the gateway alone. " +
          'Several keys while one is replaced. Needs `server.publicOrigin`.',
      ),
    replay: z
      .literal('local')
      .optional()
      .describe(
        'Take an assertion where not all can be asked whether it was used: `local`. That is so with several ' +
          '`server.replicas` and no `cache.redis`, where it has to be said, and while Redis does not answer. Danger: each ' +
          'replica then takes an assertion once. Default: such a one is refused, with 503 `temporarily_unavailable`.',
      ),
    tls: plainTls,
  })
  .optional()
  .describe('For services that only want the issued token: a token endpoint (RFC 8693).')

export const endpoints = z
  .strictObject({ forwardAuth, token })
  .prefault({})
  .describe('Other doors to the same routes, each with a listener of its own.')

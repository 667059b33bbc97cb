import { z } from 'zod'
import { forwardAuthTls, plainTls } from './tls-options.ts'
import { listenAddress, name, network, pem, text } from './values.ts'

/* The part of the schema about the other doors to the path; `endpoints.ts` judges how the options go together. */

const forwardAuth = z
  .strictObject({
    listen: listenAddress()
      .prefault('127.0.0.1:8082')
      .describe('The address and port that proxies ask. Nobody else should be able to reach it.'),
    original: z
      .enum(['headers', 'path'])
      .describe(
        'Where the proxy names the original request. `headers`: in `X-Forwarded-Method`, `X-Forwarded-Host` and ' +
          '`X-Forwarded-Uri`, each exactly once, with `/forward-auth` as the path (nginx, Traefik, Caddy, HAProxy). ' +
          '`path`: in the path after `/forward-auth`, with the method and Host of the request itself; those headers are ' +
          'ignored (Envoy). There is no default: if the proxy sends one form and the gateway reads the other, callers can ' +
          'choose what is read.',
      ),
    trustedProxies: z
      .array(network())
      .min(1)
      .prefault(['127.0.0.1/32', '::1/128'])
      .describe(
        'Networks (CIDR) of the proxies that may ask. Danger: anyone in these networks gets issued tokens for the ' +
          "callers' tokens that it holds.",
      ),
    tls: forwardAuthTls,
  })
  .optional()
  .describe(
    'A listener for proxies that forward requests themselves, and ask the gateway for the token to forward each one ' +
      'with.',
  )

const callerKey = z.strictObject({
  publicKey: pem().describe(
    'The public key: PEM (`BEGIN PUBLIC KEY`), or the path of a file, which is read whenever the configuration is. ' +
      'RSA of 2048 bits or more, or P-256.',
  ),
  keyId: text()
    .optional()
    .describe('The `kid` that an assertion must have if it has one. Default: any.'),
  algorithm: z
    .enum(['RS256', 'PS256', 'ES256'])
    .optional()
    .describe(
      'The algorithm of assertions that are signed with this key; no other is accepted. Default: `RS256` with an RSA ' +
        'key, `ES256` with a P-256 key.',
    ),
})

const token = z
  .strictObject({
    listen: listenAddress()
      .prefault('127.0.0.1:8083')
      .describe('The address and port of the token endpoint, `POST /token`.'),
    routes: z
      .array(text())
      .min(1)
      .describe(
        'The routes, by name, whose issued tokens services may request. No other route can be requested.',
      ),
    clients: z
      .enum(['required', 'none'])
      .prefault('required')
      .describe(
        "Whether a service must authenticate as the client of the route's API: with the client's secret, or with an " +
          'assertion that is signed with its `privateKey` (`private_key_jwt`, RFC 7523) or with a key of `callers`. ' +
          '`none` is accepted on loopback only. Danger: with `none`, every process on this machine that has a token ' +
          'can exchange it.',
      ),
    callers: z
      .record(name(), z.array(callerKey).min(1))
      .optional()
      .describe(
        "For APIs of the listed routes, by name: the public keys of services that authenticate as the API's client with " +
          "assertions signed by keys of their own. The client's own secret or private key is then not accepted from any " +
          'service, and only the gateway needs to know it. List several keys while one is being replaced. Needs ' +
          '`server.publicOrigin`.',
      ),
    replay: z
      .literal('local')
      .optional()
      .describe(
        'The value `local` accepts an assertion even if the gateway cannot tell whether another replica has already ' +
          'accepted it. That is the case while Redis does not answer, and always with several `server.replicas` and no ' +
          '`cache.redis`, where `local` is required. Danger: each replica then accepts an assertion once. Default: such ' +
          'an assertion is refused with 503 `temporarily_unavailable`.',
      ),
    tls: plainTls,
  })
  .optional()
  .describe('A token endpoint (RFC 8693) for services that need only the issued token.')

export const endpoints = z
  .strictObject({ forwardAuth, token })
  .prefault({})
  .describe('Other ways to use the same routes, each with a listener of its own.')

/** The few parts of oidc-provider 9 that the tests use; it ships no types of its own. */
declare module 'oidc-provider' {
  import type { X509Certificate } from 'node:crypto'
  import type { IncomingMessage, ServerResponse } from 'node:http'

  export interface Context {
    readonly oidc: {
      readonly params: Readonly<Record<string, string | undefined>>
      readonly client: Client
    }
    body: unknown
    readonly path: string
    readonly req: IncomingMessage
  }

  export interface Client {
    readonly clientId: string
  }

  export class AccessToken {
    constructor(properties: {
      accountId: string
      client: Client
      scope?: string
      gty: string
      extra?: Record<string, unknown>
    })
    resourceServer: ResourceServer
    readonly expiration: number
    readonly tokenType: string
    readonly accountId: string | undefined
    static find(value: string): Promise<AccessToken | undefined>
    destroy(): Promise<void>
    setThumbprint(kind: 'jkt', thumbprint: string): void
    setThumbprint(kind: 'x5t', certificate: X509Certificate): void
    save(): Promise<string>
  }

  export class ResourceServer {
    constructor(identifier: string, info: object)
  }

  export namespace errors {
    class InvalidRequest extends Error {
      constructor(description?: string)
    }
    class InvalidTarget extends Error {
      constructor(description?: string)
    }
  }

  export default class Provider {
    constructor(issuer: string, configuration: object)
    readonly AccessToken: typeof AccessToken
    readonly ResourceServer: typeof ResourceServer
    registerGrantType(
      name: string,
      handler: (context: Context) => Promise<void>,
      parameters: readonly string[],
    ): void
    use(middleware: (context: Context, next: () => Promise<void>) => Promise<void>): void
    callback(): (request: IncomingMessage, response: ServerResponse) => void
  }
}

/** What its own grants check by, and what it leaves to those of others. */
declare module 'oidc-provider/lib/helpers/grants.js' {
  import type { X509Certificate } from 'node:crypto'
  import type Provider from 'oidc-provider'
  import type { Context } from 'oidc-provider'

  export function validateDpop(
    provider: Provider,
    context: Context,
  ): Promise<{ readonly thumbprint: string } | undefined>
  export function checkMtlsCert(provider: Provider, context: Context): X509Certificate | undefined
}

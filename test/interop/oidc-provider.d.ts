/** The few parts of oidc-provider 9 that the tests use; it ships no types of its own. */
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  export interface Context {
    readonly oidc: {
      readonly params: Readonly<Record<string, string | undefined>>
      readonly client: Client
    }
    body: unknown
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
    callback(): (request: IncomingMessage, response: ServerResponse) => void
  }
}

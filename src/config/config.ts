import type { AuthorizeConfig } from './authorize.ts'
import type { CacheConfig } from './cache.ts'
import type { LimitsConfig, ServerLimits } from './limits.ts'
import type { CallerKey, Material, NamedKey, ProofAlgorithm } from './material.ts'
import type { ProofOfPossession } from './possession.ts'
import type { ManagementConfig, ProvisionConfig } from './provision-options.ts'

export type { CallerKey, Material, NamedKey, ProofAlgorithm } from './material.ts'

/**
 * The configuration as the stages read it: checked, complete, with every reference resolved. Durations are in
 * milliseconds, sizes in bytes. `load.ts` is the only maker of these values.
 */
export interface Config {
  readonly server: ServerConfig
  readonly admin: AdminConfig
  readonly issuers: readonly Issuer[]
  readonly apis: readonly Api[]
  readonly routes: readonly Route[]
  readonly endpoints: EndpointsConfig
  readonly cache: CacheConfig
  /** What `behalf provision` sets up beyond what the routes need. */
  readonly provision: ProvisionConfig
}

export interface Listen {
  readonly host: string
  readonly port: number
}

export interface ServerConfig {
  readonly listen: Listen
  /** The origins that callers reach the gateway by, for example `https://gateway.example`. Never taken from Host. */
  readonly publicOrigins: readonly string[]
  /** CIDRs of the peers whose `Forwarded` and `X-Forwarded-*` headers count. Default none. */
  readonly trustedProxies: readonly string[]
  readonly limits: ServerLimits
  /** How many times `behalf serve` runs with this configuration. Default 1. */
  readonly replicas: number
  /** How many processes each replica serves with; see `processesOf`. Default 1: itself. */
  readonly workers: number
  readonly drain: {
    /** How long requests are still accepted after SIGTERM, so that balancers notice. Default 5 000. */
    readonly delayMs: number
    /** How long requests in flight may take after that. Default 25 000. */
    readonly timeoutMs: number
  }
  /** Undefined: callers are served plain HTTP. */
  readonly tls: TlsConfig | undefined
}

/** TLS of a listener. */
export interface TlsConfig {
  /** The certificate, followed by any intermediate ones. */
  readonly certificate: Material
  readonly key: Material
  /** Whether callers are asked for a certificate. A caller that shows none is served as well. Default `none`. */
  readonly clientCertificates: 'none' | 'request'
  /** The authorities of client certificates. Undefined: any issuer will do, since tokens are bound to one certificate. */
  readonly clientAuthorities: Material | undefined
  /** Default `TLSv1.2`. */
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  /** Whether callers may also use HTTP/2. Default true. */
  readonly http2: boolean
}

export interface AdminConfig {
  readonly listen: Listen
  /** The bearer token that everything but /livez, /readyz and /metrics requires. Required beyond loopback. */
  readonly token: string | undefined
  /** Accepted host names, beside addresses, `localhost` and the host of `listen`. `*.` stands for one label. */
  readonly allowedHosts: readonly string[]
  /** Absent: operators are served plain HTTP. */
  readonly tls?: TlsConfig | undefined
}

/** The other doors to the path. Undefined: not configured, and so not opened. */
export interface EndpointsConfig {
  readonly forwardAuth: ForwardAuthConfig | undefined
  readonly token: TokenEndpointConfig | undefined
}

export interface TokenEndpointConfig {
  readonly listen: Listen
  /** The routes whose tokens are handed out; at least one. All APIs of one route have the same client. */
  readonly routes: readonly Route[]
  /** Whether callers authenticate as the client of the route's API, by its secret or a key. Default `required`. */
  readonly clients: 'required' | 'none'
  /** The keys that verify callers' assertions, by API. Callers for other APIs send the client's secret. */
  readonly callerKeys: ReadonlyMap<Api, readonly CallerKey[]>
  /** `local`: an assertion is taken even where not all stores could tell whether it was used. Undefined: refused then. */
  readonly replay: 'local' | undefined
  /** Absent: plain HTTP. */
  readonly tls?: TlsConfig | undefined
}

export interface ForwardAuthConfig {
  readonly listen: Listen
  /** Where the asking proxy names the original request. */
  readonly original: 'headers' | 'path'
  /** CIDRs of the proxies that may ask. Default loopback. */
  readonly trustedProxies: readonly string[]
  /** Absent: plain HTTP. */
  readonly tls?: TlsConfig | undefined
}

export type ProfileName =
  'auth0' | 'auth0-legacy' | 'rfc8693' | 'keycloak' | 'entra' | 'okta' | 'zitadel'

/** An authorization server. */
export interface Issuer {
  readonly name: string
  /** The values of `iss` that are this issuer's (several with custom domains), compared exactly. */
  readonly identifiers: readonly string[]
  readonly profile: ProfileName
  /** Discovered from the issuer's metadata (RFC 8414) unless given. */
  readonly tokenEndpoint: string | undefined
  /** Discovered from the issuer's metadata (RFC 8414) unless given. */
  readonly jwksUri: string | undefined
  /** Discovered from the issuer's metadata (RFC 8414) unless given. */
  readonly introspectionEndpoint?: string | undefined
  /** How long public keys are still used after ten minutes, while they cannot be loaded. Default 3 600 000. */
  readonly staleForMs: number
  /** Accept `http:` beyond loopback. For tests only: tokens travel in the clear. */
  readonly dangerouslyAllowHttp: boolean
  readonly budget: Budget | undefined
  /** How `behalf provision` reaches its Management API. Undefined: by variables of the environment, if at all. */
  readonly management?: ManagementConfig | undefined
}

export interface Budget {
  /** Exchanges per second, for all replicas together. Without Redis each replica takes `rate / replicas`. */
  readonly rate: number
  /** How many exchanges may be sent at once. Default 1, which paces them. */
  readonly burst: number
  /** No budget was configured: this is what the profile's smallest plan allows. */
  readonly assumed?: true
}

export type AsymmetricAlgorithm = 'RS256' | 'RS512' | 'PS256' | 'ES256' | 'EdDSA'

/** Chosen by configuration, never by a token's header: a secret and a key set exclude each other. */
export type Verification =
  | { readonly kind: 'secret'; readonly secrets: readonly string[] }
  | { readonly kind: 'jwks'; readonly algorithms: readonly AsymmetricAlgorithm[] }

/** A resource server that acts as a client. */
export interface Api {
  readonly name: string
  readonly issuer: Issuer
  readonly audience: string
  readonly verification: Verification
  /** What the `typ` of its tokens must be. Undefined: `JWT`, `at+jwt` or none. */
  readonly typ: 'at+jwt' | undefined
  /** How far clocks may differ. Default 5 000. */
  readonly clockToleranceMs: number
  /** The client by which the API authenticates to its issuer. Required where a route exchanges its tokens. */
  readonly client: Client | undefined
  /** The API's published metadata. Undefined: none is published. */
  readonly resource: Resource | undefined
  /** What callers must prove beside the token. Undefined: nothing, unless the token is bound to a certificate. */
  readonly proofOfPossession: ProofOfPossession | undefined
  /** The keys that its tokens are encrypted to. Absent: its tokens are not encrypted. */
  readonly decryptionKeys?: readonly NamedKey[] | undefined
  /** Whether opaque tokens are taken as well, and the issuer is asked about them (RFC 7662). Default false. */
  readonly introspection?: boolean | undefined
}

/** A protected resource with published metadata (RFC 9728). */
export interface Resource {
  /** A URL under one of the public origins, compared as text. */
  readonly identifier: string
  /** The URL of its metadata. */
  readonly metadataUri: string
  /** Undefined: the scopes that its routes ask for. */
  readonly scopesSupported: readonly string[] | undefined
}

/** A client: the credentials of its method, and the key and certificate that its tokens may be bound to. */
export type Client = {
  readonly id: string
  /** The key that tokens are bound to with `bound: dpop`. Absent: each process makes one for itself. */
  readonly dpopKey?: Material | undefined
  /** The certificate that tokens are bound to with `bound: mtls`, followed by any intermediate ones. */
  readonly certificate?: Material | undefined
  readonly key?: Material | undefined
} & (
  | {
      readonly method: 'client_secret_post' | 'client_secret_basic'
      readonly secret: string
    }
  /** RFC 7523, section 2.2: the client signs an assertion. */
  | {
      readonly method: 'private_key_jwt'
      readonly privateKey: Material
      readonly keyId: string | undefined
      readonly algorithm: ProofAlgorithm
    }
  /** RFC 8705, section 2: the client authenticates by its TLS certificate. */
  | {
      readonly method: 'tls_client_auth'
      readonly certificate: Material
      readonly key: Material
    }
  /** RFC 7523, section 2.2: somebody else signed the assertion, for example a Kubernetes API server. */
  | { readonly method: 'assertion_file'; readonly assertion: { readonly file: string } }
)

/** One route: a property for each step of the path. */
export interface Route {
  readonly name: string
  readonly match: {
    /** Whole segments: `/orders` takes `/orders` and `/orders/1`, not `/orders-admin`. `{id}` is any one segment. */
    readonly path: string
    /** In lower case, without a port; `*.example` stands for one label. Empty: any. */
    readonly hosts: readonly string[]
    /** In upper case. Absent: all but CONNECT and TRACE. */
    readonly methods: readonly string[] | undefined
    /** Accept `;` in paths. Default false: servers disagree about what it means. */
    readonly pathParameters: boolean
  }
  /** The APIs of which the token must be for one, which its `iss` and `aud` tell. At least one. */
  readonly authenticate: { readonly apis: readonly Api[] }
  readonly authorize: AuthorizeConfig
  readonly exchange: ExchangeConfig
  readonly proxy: ProxyConfig
}

export interface ProxyConfig {
  /** At least one. */
  readonly upstreams: readonly WeightedUpstream[]
  /** Removed from the front of the path: whole segments of `match.path`. Empty: nothing. */
  readonly strip: string
  /** Put before the rest of the path. Empty: nothing. */
  readonly prefix: string
  /** How long the upstream may stay silent, before its answer begins and within it. Default 30 000. */
  readonly timeoutMs: number
  /** How long opening a connection may take. Default 2 000, at most `timeoutMs`. */
  readonly connectTimeoutMs: number
  /** How often a failed request is sent again at most. Default 1. */
  readonly retries: number
  readonly tls: UpstreamTls | undefined
  /** Whether the caller's cookies reach the upstream. Default `strip`. */
  readonly cookies: 'strip' | 'keep'
  /** Undefined: no header is changed beyond what Behalf does by itself. */
  readonly headers: HeaderRules | undefined
  /** Whether upstreams are reached over HTTP/2 alone. Default false: over HTTP/1.1. */
  readonly http2: boolean
  /** Undefined: a WebSocket is refused. */
  readonly websocket: WebSocketConfig | undefined
  readonly limits: LimitsConfig
}

export interface WebSocketConfig {
  /** What happens to a connection when the subject token or the issued one has expired. Default `close`. */
  readonly expiry: 'close' | 'keep'
  /** How long the connection may stay silent in both directions. Default 300 000. */
  readonly idleMs: number
}

export interface WeightedUpstream {
  /** Origin and optional base path, without a trailing slash; or `unix:` and the path of a socket. */
  readonly url: string
  readonly weight: number
}

export interface UpstreamTls {
  /** Trusted authorities in PEM. Undefined: Node's own. */
  readonly authorities: string | undefined
  readonly identity: { readonly certificate: Material; readonly key: Material } | undefined
}

/** The headers that a route changes. Headers that Behalf itself sets are never among them. */
export interface HeaderRules {
  readonly request: { readonly set: readonly HeaderSetting[]; readonly remove: readonly string[] }
  readonly response: {
    readonly set: readonly (readonly [name: string, value: string])[]
    readonly remove: readonly string[]
  }
}

/** A header's value: the text before and after a claim of the subject token, or without a claim, all of it in `before`. */
export interface HeaderSetting {
  readonly name: string
  readonly before: string
  /** The path to the claim through objects. */
  readonly claim: readonly string[] | undefined
  readonly after: string
}

/** How the token for the upstream is obtained. With `passthrough` and `none` no token endpoint is asked. */
export type ExchangeConfig = Asked &
  (
    | {
        readonly grant: 'token-exchange'
        /** Send an actor token of the API's own (RFC 8693, section 2.1). Default false. */
        readonly delegation: boolean
      }
    | { readonly grant: 'jwt-bearer' }
    | { readonly grant: 'client-credentials' }
    /** The caller's own refresh token is redeemed (RFC 6749, section 6) by the client that obtained it. */
    | {
        readonly grant: 'refresh-token'
        readonly client: Client
        /** The header that brings it, in lower case. */
        readonly refreshTokenHeader: string
        /** Whether the answer carries the rotated refresh token, in the same header. */
        readonly returnRefreshToken: boolean
      }
    /** The upstream gets the subject token itself. */
    | { readonly grant: 'passthrough'; readonly because: string }
    /** The upstream gets no credentials. */
    | { readonly grant: 'none' }
  )

export type Grant = ExchangeConfig['grant']

/** What an issued token is bound to: a key of the gateway (RFC 9449), or the client's certificate (RFC 8705). */
export type Bound = 'dpop' | 'mtls'

interface Asked {
  readonly audience: OneOrMany | undefined
  readonly resource: OneOrMany | undefined
  readonly scopes: readonly string[]
  /** Changes to the form that is sent to the token endpoint, by the name of a field. */
  readonly parameters: Readonly<Record<string, Parameter>>
  /** Whether a cache entry is for the subject token itself, or for all tokens with the same claims. Default `token`. */
  readonly key: 'token' | 'context'
  /** Claims that may differ between tokens of one `context`. */
  readonly ignoreClaims: readonly string[]
  /** The longest that an issued token is used. Default 3 600 000. */
  readonly maxAgeMs: number
  /** The assumed life of an issued token that does not state its own. Default 300 000. */
  readonly defaultLifetimeMs: number
  /** How long an exchange may take. Default 5 000. */
  readonly timeoutMs: number
  /** The audience that the issued token must name. Default: each `audience`, else each `resource`. */
  readonly expectAudience: string | undefined
  /** What to do with an issued token that holds more scopes than were asked for. Default: the profile's. */
  readonly extraScopes: 'refuse' | 'allow' | undefined
  /** What the issued token must be bound to, or else it is refused. Undefined: a bound one is refused. */
  readonly bound: Bound | undefined
  /** Ask for a refresh token, and renew the issued token with it. Default: each renewal is an exchange. */
  readonly renew?: 'refresh-token' | undefined
}

export type OneOrMany = string | readonly string[]

/** A field's value; null leaves the field out; `rename` sends the field under another name. */
export type Parameter = string | null | { readonly rename: string }

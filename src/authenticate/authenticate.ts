import type { Api, Route } from '../config/config.ts'
import type { Presented } from './bearer.ts'

/** A verified access token: its signature and its static claims are known to be good. Shared by requests. */
export interface SubjectToken {
  /** The canonical compact form: the only spelling that gets this far. */
  readonly value: string
  readonly api: Api
  /** Its `iss`, one of the API's issuer's identifiers. */
  readonly issuer: string
  readonly subject: string
  readonly claims: Readonly<Record<string, unknown>>
  readonly scopes: ReadonlySet<string>
  readonly permissions: ReadonlySet<string>
  /** Epoch milliseconds. */
  readonly expiresAt: number
  /** Epoch milliseconds; 0 where the token names none. */
  readonly notBefore: number
  /** SHA-256 of `value`, base64url. Keys of caches are made from it. */
  readonly digest: string
  /** Eight hexadecimal digits for logs; of no use outside this process. */
  readonly fingerprint: string
}

/** @throws {GatewayError} `missing_token`, `invalid_request`, `invalid_token`, `keys_unavailable` */
export type Authenticate = (
  presented: Presented,
  route: Route,
) => SubjectToken | Promise<SubjectToken>

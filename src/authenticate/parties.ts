import type { Api, ProfileName } from '../config/config.ts'
import { rejectToken } from './jwt.ts'

type Claims = Readonly<Record<string, unknown>>

/** The parties behind a token, whatever claims its issuer names them in. */
export interface Parties {
  /** Whether the token speaks for a user, or for a client itself; `unknown` where the claims leave a doubt. */
  readonly kind: Kind
  /** The client that the token was issued to; undefined where the claims name none, or more than one. */
  readonly client: string | undefined
  /** The party that acts for the subject now; undefined where nobody does (RFC 8693, section 4.1). */
  readonly actor: Actor | undefined
  /** The number of levels of `act`: the current actor and those before it. */
  readonly actors: number
}

export type Kind = 'user' | 'client' | 'unknown'

/** The outermost `act`. Nested ones are history, and decide nothing (RFC 8693, section 4.1). */
export interface Actor {
  readonly subject: string | undefined
  /** The actor's `iss`; undefined where it has none, which means the token's own issuer. */
  readonly issuer: unknown
}

/**
 * Reads the parties from verified claims. Does NOT decide what they may do (see `authorize`).
 *
 * @throws {GatewayError} `invalid_token` where `act` is not an object, at any level (RFC 8693, section 4.1)
 */
export function partiesOf(claims: Claims, { issuer: { profile } }: Api): Parties {
  const { clientClaims, kindOf } = DIALECTS[profile]
  const client = clientOf(claims, clientClaims)
  const { act } = claims
  return {
    kind: kindOf(claims, client),
    client,
    actor: act === undefined ? undefined : actorOf(act),
    actors: act === undefined ? 0 : depthOf(act),
  }
}

interface Dialect {
  /** The claims that may hold the client's id. */
  readonly clientClaims: readonly string[]
  readonly kindOf: (claims: Claims, client: string | undefined) => Kind
}

/** RFC 9068, section 2.2: where no resource owner is involved, `sub` should name the client. */
const RFC9068: Dialect = {
  clientClaims: ['azp', 'client_id'],
  kindOf: ({ sub }, client) =>
    client === undefined ? 'unknown' : sub === client ? 'client' : 'user',
}

/** Tokens of dialect `access_token` have `azp` and `gty`; those of the RFC 9068 dialects have `client_id` and no `gty`. */
const AUTH0: Dialect = {
  clientClaims: ['azp', 'client_id'],
  kindOf({ sub, gty }, client) {
    const isClient = client !== undefined && (sub === client || sub === `${client}@clients`)
    if (isClient || gty === 'client-credentials') return 'client'
    // A custom database may name its users anything, also `...@clients`.
    return typeof sub === 'string' && sub.endsWith('@clients') ? 'unknown' : 'user'
  },
}

/** A user may register as `service-account-...`, so `client_id` must agree: only tokens of service accounts have it. */
const KEYCLOAK: Dialect = {
  clientClaims: ['azp', 'client_id'],
  kindOf({ preferred_username: name, client_id: id }, client) {
    if (typeof name !== 'string') return 'unknown'
    if (!name.startsWith('service-account-')) return id === undefined ? 'user' : 'unknown'
    const isOwn = client !== undefined && name === `service-account-${client.toLowerCase()}`
    return isOwn && id === client ? 'client' : 'unknown'
  },
}

/** Only a user's token has delegated permissions (`scp`). In an application's token `sub` equals `oid`. */
const ENTRA: Dialect = {
  clientClaims: ['azp', 'appid'],
  kindOf({ idtyp, oid, sub, scp }) {
    const isClient = idtyp === 'app' || (oid !== undefined && oid === sub)
    if (scp !== undefined) return isClient ? 'unknown' : 'user'
    return isClient ? 'client' : 'unknown'
  },
}

/** An expression in the issuer's settings can make `sub` anything. Only tokens that belong to a user have `uid`. */
const OKTA: Dialect = {
  clientClaims: ['cid'],
  kindOf({ sub, uid }, client) {
    const isClient = client !== undefined && sub === client
    if (uid !== undefined) return isClient ? 'unknown' : 'user'
    return isClient ? 'client' : 'unknown'
  },
}

/** Zitadel's machines are users as well, so that its tokens do not tell the two apart. */
const ZITADEL: Dialect = { clientClaims: ['azp', 'client_id'], kindOf: () => 'unknown' }

const DIALECTS: Readonly<Record<ProfileName, Dialect>> = {
  auth0: AUTH0,
  'auth0-legacy': AUTH0,
  rfc8693: RFC9068,
  keycloak: KEYCLOAK,
  entra: ENTRA,
  okta: OKTA,
  zitadel: ZITADEL,
}

/** Two claims that name the client must agree, or else the one that is read could name another client than was meant. */
function clientOf(claims: Claims, names: readonly string[]): string | undefined {
  let client: string | undefined
  for (const name of names) {
    const value = claims[name]
    if (value === undefined) continue
    if (typeof value !== 'string' || value === '') return undefined
    if (client !== undefined && client !== value) return undefined
    client = value
  }
  return client
}

function actorOf(act: unknown): Actor {
  const { sub, iss } = partyOf(act)
  return { subject: typeof sub === 'string' ? sub : undefined, issuer: iss }
}

function depthOf(act: unknown): number {
  let depth = 0
  for (let one = act; one !== undefined; one = partyOf(one)['act']) depth++
  return depth
}

function partyOf(act: unknown): Claims {
  if (typeof act !== 'object' || act === null || Array.isArray(act)) {
    rejectToken('the "act" claim is not an object')
  }
  return act as Claims
}

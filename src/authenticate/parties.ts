import type { Api, ProfileName } from '../config/config.ts'
import { rejectToken } from './jwt.ts'

type Claims = Readonly<Record<string, unknown>>

/** Who stands behind a token, in whatever dialect its issuer writes. */
export interface Parties {
  /** Whether it speaks for a user, or for a client itself; `unknown` where it does not say so beyond doubt. */
  readonly kind: Kind
  /** The client that it was issued to; undefined where none is named, or more than one. */
  readonly client: string | undefined
  /** The party that acts for the subject now; undefined where nobody does (RFC 8693, section 4.1). */
  readonly actor: Actor | undefined
  /** How many parties act one for another, with the one that acts now. */
  readonly actors: number
}

export type Kind = 'user' | 'client' | 'unknown'

/** The outermost `act`. Those within it are history, and decide nothing (RFC 8693, section 4.1). */
export interface Actor {
  readonly subject: string | undefined
  /** Its `iss`; undefined where it names none, which means the token's own issuer. */
  readonly issuer: unknown
}

/**
 * Reads them from claims that are verified. Does NOT decide whether they may do anything (see `authorize`).
 *
 * @throws {GatewayError} `invalid_token` where `act` is not what RFC 8693, section 4.1, makes of it
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
  /** Where a client's id may stand. */
  readonly clientClaims: readonly string[]
  readonly kindOf: (claims: Claims, client: string | undefined) => Kind
}

/** RFC 9068, section 2.2: where no resource owner is involved, `sub` should be the client. */
const RFC9068: Dialect = {
  clientClaims: ['azp', 'client_id'],
  kindOf: ({ sub }, client) =>
    client === undefined ? 'unknown' : sub === client ? 'client' : 'user',
}

/** `azp` and `gty` in the dialects `access_token`, `client_id` and no `gty` in those of RFC 9068. */
const AUTH0: Dialect = {
  clientClaims: ['azp', 'client_id'],
  kindOf({ sub, gty }, client) {
    const isClient = client !== undefined && (sub === client || sub === `${client}@clients`)
    if (isClient || gty === 'client-credentials') return 'client'
    // A database of one's own may name its users anything.
    return typeof sub === 'string' && sub.endsWith('@clients') ? 'unknown' : 'user'
  },
}

/** A user may have registered with any name: `client_id` stands in the token of a service account only. */
const KEYCLOAK: Dialect = {
  clientClaims: ['azp', 'client_id'],
  kindOf({ preferred_username: name, client_id: id }, client) {
    if (typeof name !== 'string') return 'unknown'
    if (!name.startsWith('service-account-')) return id === undefined ? 'user' : 'unknown'
    const isOwn = client !== undefined && name === `service-account-${client.toLowerCase()}`
    return isOwn && id === client ? 'client' : 'unknown'
  },
}

/** Only a user's token holds delegated permissions, `scp`; that of an application has its object's id as `sub`. */
const ENTRA: Dialect = {
  clientClaims: ['azp', 'appid'],
  kindOf({ idtyp, oid, sub, scp }) {
    const isClient = idtyp === 'app' || (oid !== undefined && oid === sub)
    if (scp !== undefined) return isClient ? 'unknown' : 'user'
    return isClient ? 'client' : 'unknown'
  },
}

/** `sub` can be made anything by an expression; `uid` stands in tokens that a user is bound to. */
const OKTA: Dialect = {
  clientClaims: ['cid'],
  kindOf({ sub, uid }, client) {
    const isClient = client !== undefined && sub === client
    if (uid !== undefined) return isClient ? 'unknown' : 'user'
    return isClient ? 'client' : 'unknown'
  },
}

/** Its machines are users, too. */
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

/** What stands in two places must be the same: who is allowed by the one could be anybody by the other. */
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

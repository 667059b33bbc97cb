import { randomBytes } from 'node:crypto'
import { Refusal } from './refusal.ts'
import type { Client } from './client.ts'
import type { ResourceServer } from './resource-server.ts'
import type { User } from './user.ts'

/** All refresh tokens that descend from one login. */
export interface Family {
  readonly client: Client
  readonly user: User
  readonly server: ResourceServer
  readonly scopes: readonly string[]
}

/** Makes and rotates refresh tokens. If a spent one comes again, its whole family is revoked. */
export interface RefreshTokens {
  create(family: Family): string
  /**
   * Redeems a token: returns the result of `judge`, and the token that replaces it, which is the same one if the client's
   * tokens do not rotate. If `judge` throws, the token stays valid.
   *
   * @throws {Refusal} `invalid_grant`; after the reuse of a spent token for every token of its family
   */
  redeem<Judged>(
    token: string,
    client: Client,
    judge: (family: Family) => Judged,
  ): { readonly judged: Judged; readonly next: string }
}

interface Line {
  readonly family: Family
  readonly startedAt: number
  usedAt: number
  current: string
  previous: string | undefined
  rotatedAt: number
  revoked: boolean
}

/** @param now in epoch milliseconds */
export function createRefreshTokens(now: () => number): RefreshTokens {
  const lines = new Map<string, Line>()

  function rotate(line: Line): void {
    line.previous = line.current
    line.rotatedAt = now()
    line.current = newToken()
    lines.set(line.current, line)
  }

  function isExpired({ family, startedAt, usedAt }: Line): boolean {
    const { refresh_token: settings } = family.client
    if (settings.expiration_type === 'non-expiring') return false
    return (
      (settings.infinite_token_lifetime !== true &&
        now() >= startedAt + settings.token_lifetime * 1_000) ||
      (settings.infinite_idle_token_lifetime !== true &&
        now() >= usedAt + settings.idle_token_lifetime * 1_000)
    )
  }

  /** Whether an old token is still accepted: two requests that crossed both get the token that replaced it. */
  function isTolerated(token: string, { family, previous, rotatedAt }: Line): boolean {
    const { leeway } = family.client.refresh_token
    return token === previous && now() < rotatedAt + leeway * 1_000
  }

  return {
    create(family) {
      const startedAt = now()
      const current = newToken()
      const line = { startedAt, usedAt: startedAt, rotatedAt: startedAt, current }
      lines.set(current, { family, ...line, previous: undefined, revoked: false })
      return current
    },
    redeem(token, client, judge) {
      const line = lines.get(token)
      // A client that presents another client's token learns nothing more, and cannot revoke its family.
      if (line === undefined || line.family.client !== client) unknown()
      if (line.revoked || isExpired(line)) unknown()
      const isCurrent = token === line.current
      if (!isCurrent && !isTolerated(token, line)) {
        line.revoked = true
        unknown()
      }
      const judged = judge(line.family)
      if (isCurrent && client.refresh_token.rotation_type === 'rotating') rotate(line)
      line.usedAt = now()
      return { judged, next: line.current }
    },
  }
}

function newToken(): string {
  return `v1.${randomBytes(48).toString('base64url')}`
}

function unknown(): never {
  throw new Refusal('invalid_grant', 'Unknown or invalid refresh token.')
}

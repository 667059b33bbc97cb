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

/** Refresh tokens: made, rotated, and revoked by families when a spent one comes again. */
export interface RefreshTokens {
  create(family: Family): string
  /**
   * Takes a token for what `judge` makes of what it stands for, and the token that replaces it: itself, where the
   * client's do not rotate. What `judge` throws leaves the token as good as it was.
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

  /** Two requests that crossed on their way: both get the token that replaced the one they sent. */
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
      // Whoever holds another client's token learns no more than that, and revokes nothing.
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

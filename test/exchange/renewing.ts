/** An issuer whose exchanges give refresh tokens of the tenant's own kind: each is good once, and twice is the end. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../../src/tenant/client.ts'
import { Refusal } from '../../src/tenant/refusal.ts'
import { createRefreshTokens, type Family } from '../../src/tenant/refresh-tokens.ts'
import { createState } from '../../src/tenant/state.ts'
import { respond, type TestIssuer } from '../issuer.ts'
import { claimsOf } from '../system.ts'

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** How long issued tokens live, in seconds. */
export const LIFE = 60

export interface Renewing {
  /** The grants that the issuer was asked for, in order: `exchange` or `refresh`. */
  asked(): readonly string[]
  /** What the issuer answers to refreshes in place of the usual. */
  refusing: ((form: URLSearchParams) => { status: number; error: string } | undefined) | undefined
  slowMs: number
  /** Every refresh token that was issued. */
  readonly issued: string[]
}

export function renewing(issuer: TestIssuer): Renewing {
  const all: Renewing = {
    ...{ issued: [], refusing: undefined, slowMs: 0 },
    asked: () =>
      issuer.exchanges.map((form) =>
        form.get('grant_type') === EXCHANGE ? 'exchange' : 'refresh',
      ),
  }
  const tokens = createRefreshTokens(Date.now)
  const client = rotatingClient()
  const users = new Map<Family, string>()
  issuer.answer = async (form, response) => {
    if (all.slowMs > 0) await sleep(all.slowMs)
    const refusal = all.refusing?.(form)
    if (refusal !== undefined) {
      return respond(response, { error: refusal.error }, refusal.status)
    }
    const asks = form.get('scope')?.split(' ').includes('offline_access') === true
    if (form.get('grant_type') === EXCHANGE) {
      const sub = String(claimsOf(`Bearer ${form.get('subject_token')}`)['sub'])
      const family = { client, scopes: [] } as unknown as Family
      users.set(family, sub)
      const members = asks ? { refresh_token: tokens.create(family) } : {}
      if ('refresh_token' in members) all.issued.push(String(members.refresh_token))
      return issuer.issue(form, response, { expires_in: LIFE, ...members })
    }
    try {
      const { judged: sub, next } = tokens.redeem(
        form.get('refresh_token') ?? '',
        client,
        (family) => users.get(family) ?? '',
      )
      all.issued.push(next)
      const access_token = await issuer.sign({
        sub,
        aud: form.get('audience') ?? 'https://orders.internal',
        scope: 'orders:read',
        renewed: true,
      })
      respond(response, {
        ...{ access_token, token_type: 'Bearer', expires_in: LIFE, refresh_token: next },
      })
    } catch (error) {
      assert.ok(error instanceof Refusal)
      respond(response, { error: 'invalid_grant' }, 403)
    }
  }
  return all
}

function rotatingClient(): Client {
  const client = createState().addClient({
    ...{ client_id: 'storefront', client_secret: 'a-secret-of-the-storefront' },
    ...{ name: 'Storefront', app_type: 'regular_web', grant_types: ['refresh_token'] },
  })
  return Object.assign(client, {
    refresh_token: {
      ...{ rotation_type: 'rotating', expiration_type: 'non-expiring', leeway: 0 },
      ...{ token_lifetime: 0, idle_token_lifetime: 0 },
    },
  })
}

import type { z } from 'zod'
import type { Api } from './config.ts'
import type { Faults, Path } from './faults.ts'
import { unknownName, type Named } from './parts.ts'
import type { routeSchema } from './schema.ts'

type AuthenticateInput = z.output<typeof routeSchema.shape.authenticate>

/** An API as a route names it. */
export interface NamedApi {
  readonly name: string
  readonly at: Path
}

export interface TakenApi {
  readonly api: Api
  readonly at: Path
}

/** The APIs that `authenticate` names in `api` or `apis`; undefined where it has neither or both. */
export function namedApis(
  { api, apis }: AuthenticateInput,
  at: Path,
  faults: Faults,
): readonly NamedApi[] | undefined {
  if (api !== undefined && apis !== undefined) {
    faults.add([...at, 'apis'], 'stands beside `api`: name them all in `apis`')
  } else if (api !== undefined) {
    return [{ name: api, at: [...at, 'api'] }]
  } else if (apis !== undefined) {
    return apis.map((name, index) => ({ name, at: [...at, 'apis', index] }))
  } else {
    faults.add(at, 'needs an `api`, or a list of them in `apis`')
  }
  return undefined
}

/** The APIs with these names; undefined where one of them has faults, or cannot be told from another. */
export function resolveAuthentication(
  named: readonly NamedApi[],
  apis: Named<Api>,
  faults: Faults,
): readonly TakenApi[] | undefined {
  const taken: TakenApi[] = []
  const seen = new Set<string>()
  for (const { name, at } of named) {
    const api = apis.get(name)
    const twin = api && taken.find((other) => isAlike(other.api, api))
    if (!apis.has(name)) faults.add(at, unknownName('API', name, apis.keys()))
    else if (seen.has(name)) faults.add(at, `repeats \`${name}\``)
    else if (twin !== undefined) {
      faults.add(at, `cannot be told from \`${twin.api.name}\`: same issuer, same audience`)
    } else if (api !== undefined) {
      refuseUnreadable(api, { taken, at, faults })
      taken.push({ api, at })
    }
    seen.add(name)
  }
  return taken.length === named.length ? taken : undefined
}

interface Among {
  readonly taken: readonly TakenApi[]
  readonly at: Path
  readonly faults: Faults
}

/**
 * Refuses two APIs with encrypted tokens, and two with opaque ones: only trying would tell whose a token is. For an opaque
 * token that means showing it to an issuer that did not make it.
 */
function refuseUnreadable(api: Api, { taken, at, faults }: Among): void {
  const encrypted = taken.find((other) => other.api.decryptionKeys && api.decryptionKeys)
  const opaque = taken.find((other) => other.api.introspection && api.introspection)
  if (encrypted !== undefined) {
    const { name } = encrypted.api
    faults.add(
      at,
      `cannot be told from \`${name}\` by an encrypted token: both have \`decryptionKeys\``,
    )
  }
  if (opaque !== undefined) {
    const { name } = opaque.api
    faults.add(
      at,
      `cannot be told from \`${name}\` by an opaque token: both have \`introspection\``,
    )
  }
}

/** Whether tokens of the two have the same `iss` and `aud`, which alone tell the API that a token is for. */
function isAlike(one: Api, other: Api): boolean {
  return one.issuer === other.issuer && one.audience === other.audience
}

/** Refuses APIs without a client: each API exchanges its own tokens. */
export function refuseClientless(taken: readonly TakenApi[], faults: Faults): void {
  for (const { api, at } of taken) {
    if (api.client !== undefined) continue
    faults.add(at, 'names an API without a `client`, which the exchange needs')
  }
}

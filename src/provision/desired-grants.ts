import type { Plot } from './plot.ts'
import { defined, type Fields } from './merge.ts'

/** What the client of an API may ask of an audience. Auth0 lets nobody change a grant's client, audience or subject type. */
export interface WantedGrant {
  readonly kind: 'client-grant'
  /** The name in plans. */
  readonly name: string
  /** The API's name. */
  readonly api: string
  readonly audience: string
  /** Undefined in the generation of 2019, whose grants have no subject type. */
  readonly subjectType: 'user' | 'client' | undefined
  readonly fields: Fields
}

export function wantedGrants(plot: Plot): readonly WantedGrant[] {
  const { config, issuer, generation } = plot
  const grants = new Map<string, WantedGrant>()
  const add = (grant: Omit<WantedGrant, 'kind' | 'name'>): void => {
    const { api, audience, subjectType } = grant
    const as = subjectType === 'client' ? ' (for itself)' : ''
    const name = `${api} -> ${audience}${as}`
    grants.set(name, {
      ...grant,
      kind: 'client-grant',
      name,
      fields: together(grants.get(name)?.fields, grant.fields),
    })
  }
  for (const { authenticate, exchange } of config.routes) {
    if (exchange.grant !== 'token-exchange' && exchange.grant !== 'client-credentials') continue
    const subjectType = exchange.grant === 'token-exchange' ? 'user' : 'client'
    for (const { name: api } of authenticate.apis.filter((one) => one.issuer === issuer)) {
      for (const audience of [exchange.audience ?? []].flat()) {
        const fields = { scope: exchange.scopes }
        add({
          api,
          audience,
          fields,
          subjectType: generation === 'legacy' ? undefined : subjectType,
        })
      }
    }
  }
  for (const said of config.provision.grants) {
    const { api, audience, subjectType } = said
    if (!plot.apis.some(({ name }) => name === api)) continue
    const fields = defined({
      scope: said.allowAllScopes === true ? undefined : (said.scopes ?? []),
      organization_usage: said.organizationUsage,
      allow_any_organization: said.allowAnyOrganization,
      authorization_details_types: said.authorizationDetailsTypes,
      allow_all_scopes: said.allowAllScopes,
    })
    const isLegacy = generation === 'legacy'
    const kept = isLegacy ? defined({ scope: fields['scope'] }) : fields
    add({ api, audience, fields: kept, subjectType: isLegacy ? undefined : subjectType })
  }
  return [...grants.values()]
}

function together(one: Fields = {}, other: Fields): Fields {
  const all = { ...one, ...other }
  // Auth0 accepts either `allow_all_scopes` or `scope`, not both.
  if (all['allow_all_scopes'] === true) return defined({ ...all, scope: undefined })
  const scopes = [one['scope'], other['scope']].flatMap((scope) => (scope ?? []) as string[])
  return { ...all, scope: [...new Set(scopes)] }
}

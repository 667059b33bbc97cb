import type { Faults } from './faults.ts'
import { unknownName } from './parts.ts'
import type { ProvisionConfig } from './provision-options.ts'

/** Reports grants that are repeated, of unknown APIs, or with options that do not go together. */
export function checkProvision(
  { grants }: ProvisionConfig,
  apis: Readonly<Record<string, unknown>>,
  faults: Faults,
): void {
  const seen = new Set<string>()
  for (const [index, grant] of grants.entries()) {
    const at = ['provision', 'grants', index]
    const { api, audience, subjectType } = grant
    if (!Object.hasOwn(apis, api)) {
      faults.add([...at, 'api'], unknownName('API', api, Object.keys(apis)))
    }
    const key = JSON.stringify([api, audience, subjectType])
    if (seen.has(key)) faults.add(at, 'repeats the API, audience and subject type of another')
    seen.add(key)
    for (const option of ['organizationUsage', 'allowAnyOrganization'] as const) {
      if (grant[option] === undefined || subjectType === 'client') continue
      faults.add([...at, option], 'is for `subjectType: client`')
    }
    if (grant.authorizationDetailsTypes !== undefined && subjectType !== 'user') {
      faults.add([...at, 'authorizationDetailsTypes'], 'is for `subjectType: user`')
    }
    if (grant.allowAllScopes === true && grant.scopes !== undefined) {
      faults.add([...at, 'scopes'], 'is of no use: `allowAllScopes` grants all')
    }
  }
}

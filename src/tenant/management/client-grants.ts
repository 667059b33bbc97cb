import { unknownScope, type ClientGrant, type SubjectType } from '../client-grant.ts'
import type { State } from '../state.ts'
import { Failure, invalidBody } from './failure.ts'
import { kept, picked, present, type Generation, type Kind, type View } from './kind.ts'
import { flag, list, nullable, object, oneOf, readBody, text, type Fields } from './rules.ts'

interface Body {
  readonly scope?: string[] | null
  readonly allow_all_scopes?: boolean | null
  readonly [setting: string]: unknown
}

interface NewBody extends Body {
  readonly client_id?: string
  readonly default_for?: string
  readonly audience: string
  readonly subject_type?: SubjectType
  readonly scope?: string[]
}

const SETTINGS = ['organization_usage', 'allow_any_organization', 'authorization_details_types']

const TYPES = list(text(1, 255))
const SCOPES = list(text(1, 280))

const CREATED: Readonly<Record<Generation, Fields>> = {
  legacy: { client_id: text(), audience: text(1), scope: SCOPES },
  current: {
    client_id: text(),
    audience: text(1),
    default_for: oneOf('third_party_clients'),
    organization_usage: oneOf('deny', 'allow', 'require'),
    allow_any_organization: flag,
    scope: SCOPES,
    subject_type: oneOf('client', 'user'),
    authorization_details_types: TYPES,
    allow_all_scopes: flag,
  },
}

const CHANGED: Readonly<Record<Generation, Fields>> = {
  legacy: { scope: SCOPES },
  current: {
    scope: nullable(SCOPES),
    organization_usage: nullable(oneOf('deny', 'allow', 'require')),
    allow_any_organization: nullable(flag),
    authorization_details_types: TYPES,
    allow_all_scopes: nullable(flag),
  },
}

export function createClientGrants(state: State, generation: Generation): Kind {
  const created = object(CREATED[generation], { required: ['audience'] })
  const changed = object(CHANGED[generation], { least: 1 })

  function viewOf(grant: ClientGrant): View {
    const { settings, scope, allow_all_scopes: all, subject_type: subject, ...rest } = grant
    return present({
      ...rest,
      scope: all === true ? undefined : scope,
      allow_all_scopes: all,
      subject_type: generation === 'legacy' ? undefined : subject,
      is_system: grant === state.system?.grant ? true : undefined,
      ...settings,
    })
  }

  const all = (): readonly ClientGrant[] => {
    const system = state.system?.grant
    return [...(system ? [system] : []), ...state.clientGrants.values()]
  }

  return {
    path: 'client-grants',
    noun: 'client_grants',
    readable: ['read:client_grants'],
    paging: { noun: 'client_grants', checkpoints: true, least: 1 },
    filters: {
      audience: ({ audience }, [value]) => audience === value,
      client_id: ({ client_id: id }, [value]) => id === value,
      subject_type: ({ subject_type: type }, [value]) => type === value,
      allow_any_organization: ({ allow_any_organization: any }, [value]) =>
        String(any === true) === value,
      default_for: ({ default_for: whom }, [value]) => whom === value,
    },
    views: () => all().map(viewOf),
    idOf: ({ id }) => String(id),
    isNamed: ({ id }, name) => id === name,
    shown: (view) => view,
    missing,
    create: (given) => create(state, readBody<NewBody>(created, given)),
    update(id, given) {
      const grant = all().find((one) => one.id === id) ?? missing()
      if (grant === state.system?.grant) refuseSystem()
      change(state, grant, readBody<Body>(changed, given))
    },
    remove(id) {
      if (state.system?.grant.id === id) refuseSystem()
      state.removeClientGrant(id)
    },
  }
}

function create(state: State, body: NewBody): string {
  const { client_id: clientId, default_for: whom, audience, scope = [] } = body
  const { subject_type: subjectType = 'client', allow_all_scopes: all } = body
  if ((clientId === undefined) === (whom === undefined)) {
    invalidBody('Exactly one of client_id and default_for must be given')
  }
  if (clientId === undefined) {
    throw new Failure(400, 'operation_not_supported', 'This tenant has no third-party clients')
  }
  const client = state.client(clientId)
  if (client === undefined) {
    throw new Failure(404, 'inexistent_client', 'The client does not exist')
  }
  const server = state.resourceServer(audience)
  if (server === undefined) {
    throw new Failure(404, 'inexistent_resource_server', 'Resource server not found')
  }
  if (server.is_system === true) refuseSystem()
  assertTogether(body, subjectType)
  assertScopes(state, audience, scope)
  if (state.grantOf(client, server, subjectType) !== undefined) {
    throw new Failure(409, 'client_grant_conflict', 'client_grant already exists')
  }
  const settings = kept(undefined, picked(body, SETTINGS))
  const grant = state.addClientGrant({
    client_id: clientId,
    audience,
    scope,
    subject_type: subjectType,
    ...(all === undefined || all === null ? {} : { allow_all_scopes: all }),
    ...(settings === undefined ? {} : { settings }),
  })
  return grant.id
}

function change(state: State, grant: ClientGrant, body: Body): void {
  const { scope, allow_all_scopes: all } = body
  assertTogether(body, grant.subject_type)
  assertScopes(state, grant.audience, scope ?? [])
  if (scope !== undefined) grant.scope = scope ?? []
  if (all === null || (scope && all === undefined)) delete grant.allow_all_scopes
  else if (all !== undefined) grant.allow_all_scopes = all
  const settings = kept(grant.settings, picked(body, SETTINGS))
  if (settings === undefined) delete grant.settings
  else grant.settings = settings
}

/** @throws {Failure} 400 for fields that do not go together */
function assertTogether(body: Body, subjectType: SubjectType): void {
  if (body.scope && body.allow_all_scopes === true) {
    invalidBody('scope and allow_all_scopes must not be given together')
  }
  const ofClients = ['organization_usage', 'allow_any_organization']
  const wrong = subjectType === 'user' ? ofClients : ['authorization_details_types']
  // Null, false, `deny` and an empty list mean the same as absent.
  const isSaid = (value: unknown): boolean =>
    ![undefined, null, false, 'deny'].includes(value as string) && [value].flat().length > 0
  const name = wrong.find((one) => isSaid(body[one]))
  if (name !== undefined)
    invalidBody(`${name} is not for grants of the subject_type ${subjectType}`)
}

function assertScopes(state: State, audience: string, scope: readonly string[]): void {
  const unknown = unknownScope(scope, state.resourceServer(audience))
  if (unknown === undefined) return
  invalidBody(`Scope ${unknown} is not defined in the resource server ${audience}`)
}

function refuseSystem(): never {
  throw new Failure(400, 'operation_not_supported', 'A system grant cannot be changed')
}

function missing(): never {
  throw new Failure(404, 'inexistent_client_grant', 'The grant does not exist.')
}

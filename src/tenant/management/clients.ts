import type {
  AuthenticationMethod,
  AuthenticationMethods,
  Client,
  RefreshTokenSettings,
} from '../client.ts'
import type { State } from '../state.ts'
import { randomName } from '../names.ts'
import { CHANGED, CREATED, SETTINGS } from './client-fields.ts'
import { createCredential, credentialOf, type NewCredential } from './credentials.ts'
import { Failure, invalidBody } from './failure.ts'
import {
  kept,
  picked,
  present,
  type Generation,
  type Kind,
  type Scopes,
  type View,
} from './kind.ts'
import { assertScope } from './permission.ts'
import { object, readBody } from './rules.ts'

interface Body extends View {
  readonly app_type?: Client['app_type']
  readonly client_authentication_methods?: NewMethods | null
  readonly client_secret?: string
  readonly grant_types?: string[]
  readonly is_first_party?: boolean
  readonly jwt_configuration?: View
  readonly name?: string
  readonly refresh_token?: Partial<RefreshTokenSettings> | null
  readonly resource_server_identifier?: string
  readonly token_endpoint_auth_method?: Client['token_endpoint_auth_method']
  readonly token_exchange?: { allow_any_profile_of_type?: string[] } | null
}

/** On creation a client is given whole credentials, later only their ids. */
type NewMethods = {
  readonly [Method in AuthenticationMethod]?: {
    readonly credentials: readonly (NewCredential | { readonly id: string })[]
  }
}

/** The values that a real tenant fills in if `refresh_token` is left out. */
const REFRESH_TOKEN: RefreshTokenSettings = {
  rotation_type: 'non-rotating',
  expiration_type: 'non-expiring',
  leeway: 0,
  token_lifetime: 31_557_600,
  infinite_token_lifetime: true,
  idle_token_lifetime: 2_592_000,
  infinite_idle_token_lifetime: true,
}

/** The values that it fills in if `refresh_token` is of type `expiring` and lacks some. */
const EXPIRING = {
  leeway: 0,
  token_lifetime: 2_592_000,
  infinite_token_lifetime: false,
  idle_token_lifetime: 1_296_000,
  infinite_idle_token_lifetime: false,
}

const OF_USERS = ['authorization_code', 'implicit', 'refresh_token']
const GRANT_TYPES: Readonly<Record<Client['app_type'], readonly string[]>> = {
  spa: OF_USERS,
  native: OF_USERS,
  regular_web: [...OF_USERS, 'client_credentials'],
  non_interactive: ['client_credentials'],
  resource_server: [],
}

/** The scope that lets a caller see and set secrets. */
const SEES_KEYS = 'read:client_keys'

export interface ClientsOptions {
  readonly state: State
  readonly generation: Generation
  /** In epoch milliseconds. */
  readonly now: () => number
}

export function createClients({ state, generation, now }: ClientsOptions): Kind {
  const created = object(CREATED[generation], { required: ['name'] })
  const changed = object(CHANGED[generation], { least: 1 })
  const settings = Object.keys(SETTINGS[generation])
  const all = (): readonly Client[] => {
    const system = state.system?.client
    return [...(system ? [system] : []), ...state.clients.values()]
  }

  function keepSettings(client: Client, body: Body): void {
    const { jwt_configuration: jwt } = body
    const before = client.settings?.['jwt_configuration'] as View | undefined
    const changes = {
      ...picked(body, settings),
      ...(jwt && { jwt_configuration: { ...before, ...jwt } }),
    }
    const left = kept(client.settings, changes)
    if (left === undefined) delete client.settings
    else client.settings = left
  }

  function create(body: Body, scopes: Scopes): string {
    const { app_type: type = 'regular_web', client_authentication_methods: methods } = body
    const { token_endpoint_auth_method: method } = body
    assertLink(state, body)
    assertOneMethod(body)
    if (methods) assertScope(scopes, ['create:client_credentials', 'create:clients'])
    const credentials = allOf(methods).map((one) => createCredential(one as NewCredential, now()))
    const client = state.addClient({
      name: String(body.name),
      app_type: type,
      grant_types: [...(body.grant_types ?? GRANT_TYPES[type])],
      is_first_party: body.is_first_party ?? true,
      refresh_token: refreshTokenOf(body.refresh_token),
      token_endpoint_auth_method: methods ? null : (method ?? usualMethod(type)),
      ...(body.resource_server_identifier === undefined
        ? {}
        : { resource_server_identifier: body.resource_server_identifier }),
    })
    client.credentials = credentials
    if (methods) client.client_authentication_methods = byId(methods, credentials)
    setTokenExchange(client, body)
    keepSettings(client, { oidc_conformant: true, ...body })
    return client.client_id
  }

  function update(client: Client, body: Body, scopes: Scopes): void {
    assertOneMethod(body)
    if (body.client_secret !== undefined) assertScope(scopes, ['update:client_keys'])
    if (body.app_type !== undefined) changeType(client, body.app_type)
    changeMethods(client, body)
    if (body.name !== undefined) client.name = body.name
    if (body.grant_types !== undefined) client.grant_types = [...body.grant_types]
    if (body.is_first_party !== undefined) client.is_first_party = body.is_first_party
    if (body.refresh_token !== undefined) client.refresh_token = refreshTokenOf(body.refresh_token)
    if (body.client_secret !== undefined) client.client_secret = body.client_secret
    setTokenExchange(client, body)
    keepSettings(client, body)
  }

  return {
    path: 'clients',
    noun: 'clients',
    readable: ['read:clients', SEES_KEYS, 'read:client_credentials', 'read:client_summary'],
    paging: { noun: 'clients', checkpoints: true, least: 0 },
    filters: {
      app_type: ({ app_type: type }, values) =>
        values.flatMap((value) => value.split(',')).includes(String(type)),
      is_first_party: ({ is_first_party: first }, [value]) => String(first) === value,
      is_global: (_view, [value]) => value === 'false',
      external_client_id: () => false,
    },
    views: () => all().map(viewOf),
    idOf: ({ client_id: id }) => String(id),
    isNamed: ({ client_id: id }, name) => id === name,
    shown,
    missing,
    create: (given, scopes) => create(readBody<Body>(created, given), scopes),
    update(id, given, scopes) {
      const client = state.client(id) ?? missing()
      update(client, readBody<Body>(changed, given), scopes)
    },
    remove(id) {
      if (state.system?.client.client_id === id) {
        throw new Failure(400, 'operation_not_supported', 'This client is in use by its caller')
      }
      state.removeClient(id)
    },
  }
}

/** Gives the client a new secret; the old one is refused from now on. */
export function rotateSecret(client: Client): void {
  client.client_secret = randomName(64)
}

function viewOf(client: Client): View {
  const { credentials: _, settings, client_authentication_methods: methods, ...rest } = client
  const { jwt_configuration: jwt, ...others } = settings ?? {}
  return present({
    tenant: 'behalf',
    global: false,
    sso_disabled: false,
    cross_origin_authentication: false,
    oidc_conformant: true,
    custom_login_page_on: true,
    ...others,
    ...rest,
    jwt_configuration: {
      alg: 'RS256',
      lifetime_in_seconds: 36_000,
      secret_encoded: false,
      ...(jwt as View | undefined),
    },
    // A client that authenticates by a key has no secret to show.
    client_secret: methods === undefined ? rest.client_secret : undefined,
    token_endpoint_auth_method: rest.token_endpoint_auth_method ?? undefined,
    client_authentication_methods: methods,
  })
}

function shown(view: View, scopes: Scopes): View {
  if (scopes.has(SEES_KEYS)) return view
  const { client_secret: _, ...rest } = view
  return rest
}

/** @throws {Failure} 400, 404, 409 */
function assertLink(state: State, body: Body): void {
  const { app_type: type, resource_server_identifier: identifier } = body
  if ((type === 'resource_server') !== (identifier !== undefined)) {
    invalidBody(
      'resource_server_identifier goes with the app_type resource_server, and it with that',
    )
  }
  if (identifier === undefined) return
  const server = state.resourceServer(identifier)
  if (server === undefined) {
    throw new Failure(404, 'inexistent_resource_server', 'The resource server does not exist')
  }
  if (server.client_id !== undefined || server.is_system === true) {
    throw new Failure(409, 'client_conflict', 'The resource server has a client already')
  }
}

/** @throws {Failure} 400 */
function assertOneMethod(body: Body): void {
  const { token_endpoint_auth_method: method, client_authentication_methods: methods } = body
  if (method && methods) {
    invalidBody(
      'token_endpoint_auth_method and client_authentication_methods must not be given together',
    )
  }
}

function changeType(client: Client, type: Client['app_type']): void {
  if ((type === 'resource_server') !== (client.app_type === 'resource_server')) {
    invalidBody('A client neither becomes nor ceases to be a resource server')
  }
  client.app_type = type
}

function changeMethods(client: Client, body: Body): void {
  const { token_endpoint_auth_method: method, client_authentication_methods: methods } = body
  if (methods) {
    for (const one of allOf(methods)) credentialOf(client, (one as { id: string }).id)
    client.client_authentication_methods = methods as AuthenticationMethods
    client.token_endpoint_auth_method = null
  }
  if (methods === null || method) delete client.client_authentication_methods
  if (method) client.token_endpoint_auth_method = method
  const hasNone =
    client.client_authentication_methods === undefined && client.token_endpoint_auth_method === null
  if (hasNone || (method === null && methods === undefined)) {
    client.token_endpoint_auth_method = usualMethod(client.app_type)
    delete client.client_authentication_methods
  }
  if (client.token_endpoint_auth_method !== 'none') client.client_secret ??= randomName(64)
}

function setTokenExchange(client: Client, { token_exchange: exchange }: Body): void {
  if (exchange === null) delete client.token_exchange
  else if (exchange !== undefined) {
    const { allow_any_profile_of_type: types = [] } = exchange
    client.token_exchange = { allow_any_profile_of_type: types }
  }
}

function refreshTokenOf(given: Body['refresh_token']): RefreshTokenSettings {
  if (!given) return { ...REFRESH_TOKEN }
  const { expiration_type: type } = given
  const usual = type === 'expiring' ? { ...REFRESH_TOKEN, ...EXPIRING } : REFRESH_TOKEN
  return { ...usual, ...given }
}

function usualMethod(type: Client['app_type']): 'none' | 'client_secret_post' {
  return type === 'spa' || type === 'native' ? 'none' : 'client_secret_post'
}

function allOf(
  methods: NewMethods | null | undefined,
): readonly (NewCredential | { id: string })[] {
  return Object.values(methods ?? {}).flatMap((method) => method?.credentials ?? [])
}

/** The given methods, with the ids of the credentials in place of these. */
function byId(methods: NewMethods, credentials: Client['credentials']): AuthenticationMethods {
  const [name] = Object.keys(methods)
  return { [String(name)]: { credentials: credentials.map(({ id }) => ({ id })) } }
}

function missing(): never {
  throw new Failure(404, 'inexistent_client', 'The client does not exist')
}

import { giveSigningSecret, type ResourceServer } from '../resource-server.ts'
import type { State } from '../state.ts'
import { Failure, invalidBody } from './failure.ts'
import { kept, picked, present, type Generation, type Kind, type View } from './kind.ts'
import { adoptLegacy, legacyView, type LegacyFields } from './legacy.ts'
import { publicKeyOf, thumbprintOf } from './pem.ts'
import { FIELDS, OF_SYSTEM, SETTINGS } from './resource-server-fields.ts'
import { object, readBody, text } from './rules.ts'

type Body = Partial<ResourceServer> & LegacyFields & Readonly<Record<string, unknown>>

/** The default lifetime of browsers' tokens, in seconds. */
const USUAL_WEB_LIFETIME = 7_200

/** Fields that answers leave out until they were set, as a real tenant was seen to do. */
const UNTOLD = {
  scopes: [],
  enforce_policies: false,
  token_dialect: 'access_token',
  proof_of_possession: null,
  token_encryption: undefined,
} as const satisfies Partial<Record<keyof ResourceServer, unknown>>

export function createResourceServers(state: State, generation: Generation): Kind {
  const told = new WeakMap<ResourceServer, Set<string>>()
  const fields = FIELDS[generation]
  const created = object({ ...fields, identifier: text(1, 600) }, { required: ['identifier'] })
  const changed = object(fields)

  function apply(server: ResourceServer, body: Body): void {
    assertTogether({ ...server, ...body }, body)
    const before = server.subject_type_authorization
    const { token_exchange: _, client: __, identifier: ___, ...rest } = body
    const settings = kept(server.settings, picked(rest, SETTINGS))
    const plain = Object.entries(rest).filter(([name]) => !isSetting(name))
    Object.assign(server, Object.fromEntries(plain))
    if (settings === undefined) delete server.settings
    else server.settings = settings
    server.subject_type_authorization = { ...before, ...body.subject_type_authorization }
    giveSigningSecret(server)
    const names = told.get(server) ?? new Set()
    told.set(server, names)
    for (const name of Object.keys(body)) names.add(name)
    if (generation === 'legacy') adoptLegacy(state, server, body)
  }

  function viewOf(server: ResourceServer): View {
    const { settings, token_exchange: _, signing_secret: secret, ...rest } = server
    const shown = Object.entries(rest).filter(
      ([name, value]) => !isUntold(name, value) || told.get(server)?.has(name) === true,
    )
    return present({
      ...Object.fromEntries(shown),
      signing_secret: server.signing_alg === 'HS256' ? secret : undefined,
      token_encryption: encryptionView(server),
      token_lifetime_for_web: Math.min(USUAL_WEB_LIFETIME, server.token_lifetime),
      ...settings,
      ...(generation === 'legacy' ? legacyView(state, server) : {}),
    })
  }

  const byId = (id: string): ResourceServer => {
    const system = state.system?.server
    const all = [...(system ? [system] : []), ...state.resourceServers.values()]
    return all.find((server) => server.id === id) ?? missing()
  }

  return {
    path: 'resource-servers',
    noun: 'resource_servers',
    readable: ['read:resource_servers'],
    paging: { noun: 'resource_servers', checkpoints: false, least: 1 },
    filters: {
      identifiers: ({ identifier }, values) => values.includes(String(identifier)),
    },
    views() {
      const system = state.system?.server
      return [...(system ? [system] : []), ...state.resourceServers.values()].map(viewOf)
    },
    idOf: ({ id }) => String(id),
    isNamed: ({ id, identifier }, name) => id === name || identifier === name,
    shown: (view) => view,
    missing,
    create(given) {
      const body = readBody<Body & { identifier: string }>(created, given)
      if (state.resourceServer(body.identifier) !== undefined) {
        const message = 'A resource server with the same identifier already exists'
        throw new Failure(409, 'resource_server_conflict', message)
      }
      assertTogether(body, body)
      const server = state.addResourceServer({ identifier: body.identifier })
      apply(server, body)
      return server.id
    },
    update(id, given) {
      const server = byId(id)
      const body = readBody<Body>(changed, given)
      if (server.is_system === true) assertOfSystem(body)
      apply(server, body)
    },
    remove(id) {
      const server = byId(id)
      if (server.is_system === true) refuseSystem()
      state.removeResourceServer(server.identifier)
    },
  }
}

const isSetting = (name: string): boolean => (SETTINGS as readonly string[]).includes(name)

function isUntold(name: string, value: unknown): boolean {
  if (!Object.hasOwn(UNTOLD, name)) return false
  return JSON.stringify(value) === JSON.stringify(UNTOLD[name as keyof typeof UNTOLD])
}

/** The view of `token_encryption`, with the key's thumbprint in place of the key. */
function encryptionView({ token_encryption: encryption }: ResourceServer): unknown {
  if (encryption === undefined || encryption === null) return encryption
  const { pem, ...key } = encryption.encryption_key
  return { ...encryption, encryption_key: { ...key, thumbprint_sha256: thumbprintOf(pem) } }
}

/** @throws {Failure} 400 for fields that do not go together */
function assertTogether(after: Partial<ResourceServer> & View, body: Body): void {
  const { scopes = [], token_encryption: encryption, signing_secret: secret } = body
  if (new Set(scopes.map(({ value }) => value)).size < scopes.length) {
    invalidBody('Payload validation error: scopes must be unique.')
  }
  if (secret !== undefined && after.signing_alg !== 'HS256') {
    invalidBody('A signing_secret needs the signing_alg HS256')
  }
  if (encryption) publicKeyOf(encryption.encryption_key.pem)
  const { token_lifetime: lifetime = 86_400, token_lifetime_for_web: web } = after
  if (typeof web === 'number' && web > lifetime) {
    invalidBody('token_lifetime_for_web must not be above token_lifetime')
  }
}

function assertOfSystem(body: Body): void {
  if (Object.keys(body).some((name) => !OF_SYSTEM.includes(name))) refuseSystem()
}

function refuseSystem(): never {
  throw new Failure(400, 'operation_not_supported', 'A system API cannot be changed like that')
}

function missing(): never {
  throw new Failure(404, 'inexistent_resource_server', 'The resource server does not exist')
}

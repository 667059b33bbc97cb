import type { WantedClient } from '../desired-clients.ts'
import type { WantedGrant } from '../desired-grants.ts'
import type { WantedServer } from '../desired-servers.ts'
import { ProvisionError } from '../failure.ts'
import { defined, isObject, type Fields } from '../merge.ts'
import type { Proof } from '../proof.ts'
import { Expression, hcl, type Block } from './hcl.ts'
import {
  apiOf,
  assertCurrent,
  assertKeys,
  quoted,
  targetsOf,
  type Exported,
  type Target,
} from './objects.ts'

/**
 * The tenant's objects as resources of the provider `auth0/auth0` (1.44 or later), with import blocks for existing ones.
 * Does NOT include applications, because their configuration is managed elsewhere.
 *
 * @throws {ProvisionError} `impossible` for fields that the provider does not accept
 */
export function terraform(exported: Exported): string {
  assertCurrent(exported, 'Terraform')
  assertKeys(exported)
  const module = createModule(exported)
  const { servers, clients, grants } = targetsOf(exported)
  for (const one of servers) addServer(module, one)
  for (const one of clients) addClient(module, one)
  for (const one of grants) addGrant(module, one)
  const variables = [...module.variables].map((name): Block => {
    const attributes = { type: new Expression('string'), sensitive: true }
    return { type: 'variable', labels: [name], attributes }
  })
  const parts = [...variables, ...module.parts, ...module.outputs]
  return [HEAD, ...parts.map((part) => (typeof part === 'string' ? part : hcl(part)))].join('\n')
}

const HEAD = `# The objects that \`behalf provision\` asks for, for the provider auth0/auth0, 1.44 or later. Secrets are variables: give
# each as TF_VAR_NAME. Objects that are there are imported: look at the plan before it is applied.
`

/** The keyword of a block that adopts an existing object. */
const IMPORT = `import`

interface Module {
  readonly exported: Exported
  /** Blocks, and comments. */
  readonly parts: (Block | string)[]
  readonly outputs: Block[]
  readonly variables: Set<string>
  /** Names of resources, by kind and identifier. */
  readonly names: Map<string, string>
  /** The identifiers whose scopes are set by a resource. */
  readonly scoped: Set<string>
}

function createModule(exported: Exported): Module {
  return {
    exported,
    parts: [],
    outputs: [],
    variables: new Set(),
    names: new Map(),
    scoped: new Set(),
  }
}

/** A name that Terraform accepts, and that no other resource has. */
function nameOf({ names }: Module, kind: string, whole: string): string {
  const key = JSON.stringify([kind, whole])
  const known = names.get(key)
  if (known !== undefined) return known
  const plain = whole
    .replace(/^https?:\/\//, '')
    .replace(/[^A-Za-z0-9]+/g, '_')
    .replace(/^_|_$/g, '')
  const base = /^[A-Za-z]/.test(plain) ? plain.slice(0, 60) : `api_${plain.slice(0, 60)}`
  const taken = new Set(
    [...names].filter(([one]) => one.startsWith(`["${kind}"`)).map(([, name]) => name),
  )
  let name = base
  for (let next = 2; taken.has(name); next++) name = `${base}_${next}`
  names.set(key, name)
  return name
}

function serverName(module: Module, identifier: string): string {
  return nameOf(module, 'resource-server', apiOf(module.exported, identifier) ?? identifier)
}

function add({ parts }: Module, type: string, name: string, body: Omit<Block, 'type' | 'labels'>) {
  parts.push({ type: 'resource', labels: [type, name], ...body })
}

function addImport({ parts }: Module, to: string, id: unknown): void {
  parts.push({ type: IMPORT, labels: [], attributes: { to: new Expression(to), id } })
}

function secret({ exported, variables }: Module, api: string, option: 'secret' | 'signingSecret') {
  const name = exported.variableOf(api, option)
  variables.add(name)
  return new Expression(`var.${name}`)
}

const PLAIN = [
  'identifier',
  'name',
  'signing_alg',
  'token_lifetime',
  'token_dialect',
  'enforce_policies',
  'allow_offline_access',
  'skip_consent_for_verifiable_first_party_clients',
  'consent_policy',
] as const

function addServer(module: Module, { wanted, there, step, fields }: Target<WantedServer>): void {
  const { identifier } = wanted
  const name = serverName(module, identifier)
  if (fields['signing_alg'] === 'RS512') {
    impossible(`${identifier}: the provider takes no signing_alg RS512`)
  }
  if (there !== undefined) addImport(module, `auth0_resource_server.${name}`, there['id'])
  const plain = PLAIN.map((one) => [one, one === 'identifier' ? identifier : fields[one]])
  add(module, 'auth0_resource_server', name, {
    attributes: {
      ...Object.fromEntries(plain),
      ...('signing_secret' in step.fields && {
        signing_secret: secret(module, apiOf(module.exported, identifier) ?? '', 'signingSecret'),
      }),
    },
    blocks: serverBlocks(fields),
  })
  const scopes = (fields['scopes'] ?? []) as readonly Fields[]
  if (scopes.length === 0) return
  module.scoped.add(identifier)
  if (there?.['scopes'] !== undefined) {
    addImport(module, `auth0_resource_server_scopes.${name}`, identifier)
  }
  add(module, 'auth0_resource_server_scopes', name, {
    attributes: {
      resource_server_identifier: new Expression(`auth0_resource_server.${name}.identifier`),
    },
    blocks: scopes.map(({ value, description }) => ({
      type: 'scopes',
      labels: [],
      attributes: { name: value, description },
    })),
  })
}

function serverBlocks(fields: Fields): readonly Block[] {
  const { proof_of_possession: proof, subject_type_authorization: types } = fields
  const { token_encryption: encryption, authorization_details: details } = fields
  const key = isObject(encryption) ? (encryption['encryption_key'] as Fields) : {}
  const { alg: algorithm, ...others } = key
  return [
    ...((details ?? []) as readonly Fields[]).map((one) => block('authorization_details', one)),
    ...(isObject(proof) ? [block('proof_of_possession', proof)] : []),
    ...(isObject(types) ? [nested('subject_type_authorization', types)] : []),
    ...(isObject(encryption)
      ? [
          {
            ...block('token_encryption', { format: encryption['format'] }),
            blocks: [block('encryption_key', { algorithm, ...others })],
          },
        ]
      : []),
  ]
}

function block(type: string, attributes: Fields): Block {
  return { type, labels: [], attributes }
}

function nested(type: string, members: Fields): Block {
  const blocks = Object.entries(members).filter(([, one]) => isObject(one))
  return { ...block(type, {}), blocks: blocks.map(([name, one]) => block(name, one as Fields)) }
}

function addClient(module: Module, target: Target<WantedClient>): void {
  const { wanted, there, step, fields } = target
  const { identifier } = wanted
  if (identifier === undefined) {
    addApplication(module, target)
    return
  }
  const name = nameOf(module, 'client', wanted.name)
  if (there !== undefined) addImport(module, `auth0_client.${name}`, step.id)
  const server = serverName(module, identifier)
  add(module, 'auth0_client', name, {
    attributes: {
      name: there?.['name'] ?? fields['name'],
      app_type: 'resource_server',
      resource_server_identifier: new Expression(`auth0_resource_server.${server}.identifier`),
      grant_types: fields['grant_types'],
    },
    blocks: [block('token_exchange', fields['token_exchange'] as Fields)],
  })
  addCredentials(module, target, name)
  const { blanks } = module.exported
  for (const { api, option, variable } of blanks) {
    if (api !== wanted.name || (option !== 'id' && option !== 'secret')) continue
    const value =
      option === 'id'
        ? `auth0_client.${name}.client_id`
        : `auth0_client_credentials.${name}.client_secret`
    const attributes = {
      value: new Expression(value),
      ...(option === 'secret' && { sensitive: true }),
    }
    module.outputs.push({ type: 'output', labels: [variable], attributes })
  }
}

function addCredentials(module: Module, target: Target<WantedClient>, name: string): void {
  const { wanted, there, step, fields } = target
  const { proof } = wanted
  const own = { client_id: new Expression(`auth0_client.${name}.id`) }
  if (proof === undefined) {
    if (there !== undefined) addImport(module, `auth0_client_credentials.${name}`, step.id)
    add(module, 'auth0_client_credentials', name, {
      attributes: {
        ...own,
        authentication_method: fields['token_endpoint_auth_method'],
        ...(wanted.secret !== undefined && {
          client_secret: secret(module, wanted.name, 'secret'),
        }),
      },
    })
    return
  }
  if (there !== undefined && !('client_authentication_methods' in step.fields)) {
    // Not imported: tenants do not show a credential's PEM, so Terraform would create it again.
    module.parts.push(
      `# The credential of the client ${quoted(wanted.name)} is there, and in use.\n`,
    )
    return
  }
  if (there !== undefined) {
    module.parts.push(
      `# Other credentials of the client ${quoted(wanted.name)} are no longer used then.\n`,
    )
  }
  add(module, 'auth0_client_credentials', name, {
    attributes: { ...own, authentication_method: proof.method },
    blocks: [
      {
        ...block(proof.method, {}),
        blocks: [block('credentials', credentialOf(wanted.name, proof))],
      },
    ],
  })
}

/** The provider accepts no `kid`; Auth0 derives one from the key. */
function credentialOf(api: string, { credential, known, keyThumbprint }: Proof): Fields {
  const { kid: _, alg: algorithm, ...others } = credential
  if (known['kid'] !== keyThumbprint) {
    impossible(
      `apis.${api}.client.keyId: the provider takes none: leave it out, and the key's thumbprint is its name`,
    )
  }
  return defined({ ...others, algorithm })
}

function addApplication(module: Module, { wanted, fields }: Target<WantedClient>): void {
  const { refresh_token: refresh } = fields
  const policies = isObject(refresh) ? (refresh['policies'] as readonly Fields[]) : []
  const text = hcl({
    ...block('refresh_token', {}),
    blocks: policies.map((one) => block('policies', one)),
  })
  const lines = [
    `The application ${quoted(wanted.name)} is managed by whoever logs users in. It needs the grant type refresh_token, and:`,
    ...text.trimEnd().split('\n'),
  ]
  module.parts.push(`${lines.map((line) => `# ${line}`.trimEnd()).join('\n')}\n`)
}

function addGrant(module: Module, { wanted, there, step, fields }: Target<WantedGrant>): void {
  const name = nameOf(module, 'client-grant', wanted.name)
  const server = serverName(module, wanted.audience)
  const old = there?.['id'] ?? step.deletes[0]?.id
  if (old !== undefined) addImport(module, `auth0_client_grant.${name}`, old)
  const { scope, client_id: _, audience: __, subject_type: ___, ...others } = fields
  add(module, 'auth0_client_grant', name, {
    attributes: {
      client_id: new Expression(`auth0_client.${nameOf(module, 'client', wanted.api)}.id`),
      audience: isThere(module, wanted.audience)
        ? new Expression(`auth0_resource_server.${server}.identifier`)
        : wanted.audience,
      subject_type: wanted.subjectType,
      scopes: scope,
      ...others,
      // After the scopes: Auth0 refuses a grant while the API lacks one of its scopes.
      ...(module.scoped.has(wanted.audience) && {
        depends_on: [new Expression(`auth0_resource_server_scopes.${server}`)],
      }),
    },
  })
}

function isThere({ exported }: Module, audience: string): boolean {
  return exported.wanted.servers.some(({ identifier }) => identifier === audience)
}

function impossible(message: string): never {
  throw new ProvisionError('impossible', message)
}

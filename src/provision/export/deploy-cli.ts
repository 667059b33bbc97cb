import type { WantedClient } from '../desired-clients.ts'
import type { WantedGrant } from '../desired-grants.ts'
import type { WantedServer } from '../desired-servers.ts'
import { ProvisionError } from '../failure.ts'
import { defined, isObject, type Fields } from '../merge.ts'
import type { Proof } from '../proof.ts'
import {
  apiOf,
  assertCurrent,
  assertKeys,
  escaped,
  targetsOf,
  type Exported,
  type Target,
} from './objects.ts'

/**
 * The tenant's objects as auth0-deploy-cli reads them (`a0deploy import --input_file FILE`). Secrets are its keywords,
 * `##NAME##`, which it replaces from the environment.
 *
 * @throws {ProvisionError} `impossible` for fields that the tool cannot set
 */
export function deployCli(exported: Exported): string {
  assertCurrent(exported, 'auth0-deploy-cli')
  assertKeys(exported)
  const { servers, clients, grants } = targetsOf(exported)
  const sections = {
    resourceServers: servers.map((one) => serverOf(exported, one)),
    clients: clients.map((one) => clientOf(exported, one)),
    clientGrants: grants.map((one) => grantOf(clients, one)),
  }
  const filled = Object.entries(sections).filter(([, items]) => items.length > 0)
  const lines = filled.flatMap(([name, items]) => ['', ...yamlLines({ [name]: items }, '')])
  return `${[...HEAD, ...lines].join('\n')}\n`
}

const HEAD = [
  '# The objects that `behalf provision` asks for, for auth0-deploy-cli. Leave AUTH0_ALLOW_DELETE at false: with it, everything',
  '# else of these kinds would be deleted. Keywords (##NAME##) are variables of the environment.',
]

/** Stands where the tool puts the value of a variable. */
class Keyword {
  readonly text: string

  constructor(variable: string) {
    this.text = `"##${variable}##"`
  }
}

function serverOf(
  exported: Exported,
  { wanted, there, step, fields }: Target<WantedServer>,
): Fields {
  const { identifier, initial } = wanted
  const api = apiOf(exported, identifier) ?? ''
  return defined({
    identifier,
    name: fields['name'] ?? there?.['name'] ?? initial['name'],
    ...fields,
    ...('signing_secret' in step.fields && {
      signing_secret: new Keyword(exported.variableOf(api, 'signingSecret')),
    }),
  })
}

function clientOf(exported: Exported, target: Target<WantedClient>): Fields {
  const { wanted, there, step, fields } = target
  const { proof, name: api } = wanted
  const { client_authentication_methods: _, token_endpoint_auth_method: method, ...plain } = fields
  const hasSecret = there !== undefined && 'client_secret' in step.fields
  if (there === undefined && wanted.secret !== undefined) {
    impossible(
      `apis.${api}.client.secret: nobody can choose the secret of a client that is not there yet: leave it unset`,
    )
  }
  return defined({
    name: there?.['name'] ?? plain['name'],
    client_id: there === undefined ? undefined : step.id,
    ...plain,
    ...(proof === undefined
      ? {
          token_endpoint_auth_method: method,
          ...(hasSecret && { client_secret: new Keyword(exported.variableOf(api, 'secret')) }),
        }
      : methodsOf(target, proof)),
  })
}

/** The tool recognizes an existing credential by its name, so the name has to identify the key. */
function methodsOf({ wanted, there, step }: Target<WantedClient>, proof: Proof): Fields {
  if (there !== undefined && !('client_authentication_methods' in step.fields)) return {}
  const { kid, alg, ...credential } = proof.credential
  if (kid !== proof.keyThumbprint) {
    impossible(`apis.${wanted.name}.client.keyId: auth0-deploy-cli sets none: leave it out`)
  }
  if (alg !== undefined && alg !== 'RS256') {
    impossible(`apis.${wanted.name}.client.algorithm: auth0-deploy-cli sets none but RS256`)
  }
  const suffix = proof.keyThumbprint ?? proof.known['thumbprint_sha256']
  const name = typeof suffix === 'string' ? `Behalf ${suffix}` : credential['name']
  return {
    client_authentication_methods: { [proof.method]: { credentials: [{ ...credential, name }] } },
  }
}

/** The tool finds the id of a client by its name. */
function grantOf(
  clients: readonly Target<WantedClient>[],
  { wanted, fields }: Target<WantedGrant>,
): Fields {
  const client = clients.find((one) => one.wanted.name === wanted.api)
  const { client_id: _, ...others } = fields
  // Null means the same as absent.
  const set = Object.fromEntries(Object.entries(others).filter(([, one]) => one !== null))
  return defined({
    client_id: client?.there === undefined ? client?.fields['name'] : client.step.id,
    audience: wanted.audience,
    subject_type: wanted.subjectType,
    ...set,
  })
}

/** Strings and names are written as JSON, which YAML reads alike. */
function yamlLines(value: Fields, indent: string): readonly string[] {
  return Object.entries(value).flatMap(([name, one]) => {
    if (one instanceof Keyword) return [`${indent}${name}: ${one.text}`]
    if (isObject(one) && Object.keys(one).length > 0) {
      return [`${indent}${name}:`, ...yamlLines(one, `${indent}  `)]
    }
    if (!Array.isArray(one) || !one.some(isObject)) return [`${indent}${name}: ${scalar(one)}`]
    const items = (one as readonly Fields[]).map((item) => yamlLines(item, `${indent}    `))
    const dashed = items.flatMap(([first = '', ...rest]) => [
      `${indent}  - ${first.trimStart()}`,
      ...rest,
    ])
    return [`${indent}${name}:`, ...dashed]
  })
}

/** A scalar in which the tool finds no keyword of its own. */
function scalar(value: unknown): string {
  const codes: Readonly<Record<string, string>> = { '#': '\\u0023', '@': '\\u0040' }
  return escaped(JSON.stringify(value)).replace(/##|@@/g, ([one = '']) => codes[one]!.repeat(2))
}

function impossible(message: string): never {
  throw new ProvisionError('impossible', message)
}

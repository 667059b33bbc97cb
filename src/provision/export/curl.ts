import { scopesToApply } from '../access.ts'
import type { Blank } from '../blanks.ts'
import type { WantedClient } from '../desired-clients.ts'
import type { WantedGrant } from '../desired-grants.ts'
import { isObject, type Fields } from '../merge.ts'
import { authenticatedBy } from '../proof.ts'
import { bodyOf, type Step } from '../step.ts'
import { apiOf, assertKeys, escaped, quoted, SECRETS, type Exported } from './objects.ts'
import { FUNCTIONS, Hole, KEEP, word } from './shell.ts'

/**
 * The calls that `--apply` would make, as a script for `sh` with curl. The script carries out this plan once: it does NOT
 * look for existing objects, nor wait for changes to become visible. It reads secrets from environment variables.
 *
 * @throws {ProvisionError} `impossible` while a private key is not set
 */
export function curlScript(exported: Exported): string {
  assertKeys(exported)
  const script = createScript(exported)
  for (const step of exported.steps) {
    const { action, kind, name, wanted } = step
    if (action === 'unchanged') continue
    script.lines.push('', `# ${action} ${kind} ${quoted(name)}`)
    if (wanted.kind === 'resource-server') addServer(script, step, wanted.identifier)
    else if (wanted.kind === 'client') addClient(script, step, wanted)
    else addGrant(script, step, wanted)
  }
  return `${[...head(script), ...script.lines].join('\n')}\n`
}

interface Script {
  readonly exported: Exported
  readonly lines: string[]
  /** The variables that the script needs. */
  readonly secrets: Set<string>
  /** Ids of clients, by API: the id itself, or a variable of the script. */
  readonly ids: Map<string, string | Hole>
}

function createScript(exported: Exported): Script {
  const ids = new Map([...exported.present.clients].map(([api, { id }]) => [api, id]))
  return { exported, lines: [], secrets: new Set(), ids }
}

type Path = readonly (string | Hole)[]

function call({ lines }: Script, method: string, path: Path, body?: Fields): void {
  const words = [method, word(path), ...(body === undefined ? [] : [word(pieces(body, ''))])]
  lines.push(`call ${words.join(' ')}`)
}

function at(kind: string, id: string | Hole, ...rest: Path): Path {
  return [`${kind}/`, id instanceof Hole ? id : encodeURIComponent(id), ...rest]
}

function addServer(script: Script, step: Step, identifier: string): void {
  const body = withSecrets(script, apiOf(script.exported, identifier) ?? '', bodyOf(step))
  if (step.id === undefined) call(script, 'POST', ['resource-servers'], body)
  else call(script, 'PATCH', at('resource-servers', step.id), body)
  const own = script.exported.wanted.clients.find((client) => client.identifier === identifier)
  // In 2019's generation this call gives the API its client.
  if (own?.initial === undefined && own !== undefined && !script.ids.has(own.name)) {
    learn(script, own)
  }
}

function addClient(script: Script, step: Step, client: WantedClient): void {
  const body = withSecrets(script, client.name, bodyOf(step))
  if (step.id === undefined) {
    call(script, 'POST', ['clients'], body)
    learn(script, client)
    return
  }
  const path = at('clients', step.id)
  const methods = body['client_authentication_methods']
  if (client.proof === undefined || !isObject(methods)) {
    call(script, 'PATCH', path, body)
    return
  }
  const { method } = client.proof
  const { credentials } = methods[method] as { readonly credentials: readonly Fields[] }
  if (step.deletes.length > 0) {
    const left = credentials.filter(({ id }) => id !== undefined)
    call(script, 'PATCH', path, authenticatedBy(method, left))
    for (const { id } of step.deletes) {
      call(script, 'DELETE', [...path, '/credentials/', encodeURIComponent(id)])
    }
  }
  const used = credentials.map((one) => {
    if (one['id'] !== undefined) return one
    call(script, 'POST', [...path, '/credentials'], one)
    script.lines.push('credential=$(member id)')
    return { id: new Hole('$credential') }
  })
  call(script, 'PATCH', path, { ...body, ...authenticatedBy(method, used) })
}

function addGrant(script: Script, step: Step, { api }: WantedGrant): void {
  const body = bodyOf(step)
  for (const { id } of step.deletes) call(script, 'DELETE', at('client-grants', id))
  if (step.id !== undefined) call(script, 'PATCH', at('client-grants', step.id), body)
  else call(script, 'POST', ['client-grants'], { ...body, client_id: script.ids.get(api) })
}

/** Takes a new client's id and secret out of the answer. */
function learn(script: Script, client: WantedClient): void {
  const { wanted, blanks } = script.exported
  const variable = `client_${wanted.clients.indexOf(client) + 1}`
  const id = new Hole(`$${variable}`)
  script.ids.set(client.name, id)
  script.lines.push(`${variable}=$(member client_id)`)
  const own = blanks.filter(({ api }) => api === client.name)
  const inLegacy = client.initial === undefined
  // The answer is about the API, and has only the id of its client.
  if (inLegacy && own.some(({ option }) => option === 'secret')) {
    call(script, 'GET', at('clients', id))
  }
  script.lines.push(...own.flatMap(kept))
  if (client.secret === undefined) return
  call(script, 'PATCH', at('clients', id), withSecrets(script, client.name, { client_secret: '' }))
}

function kept({ option, variable }: Blank): readonly string[] {
  if (option !== 'id' && option !== 'secret') return []
  const member = option === 'id' ? 'client_id' : 'client_secret'
  return [`value=$(member ${member})`, `keep ${variable} "$value"`]
}

/** The body with variables of the environment in place of secrets. */
function withSecrets({ exported, secrets }: Script, api: string, body: Fields): Fields {
  const members = Object.entries(body).map(([name, value]) => {
    if (!SECRETS.has(name)) return [name, value]
    const option = name === 'client_secret' ? 'secret' : 'signingSecret'
    const variable = exported.variableOf(api, option)
    secrets.add(variable)
    return [name, new Hole(`$(json "$${variable}")`)]
  })
  return Object.fromEntries(members) as Fields
}

/** A value as indented JSON, with its holes as separate pieces. */
function* pieces(value: unknown, indent: string): Iterable<string | Hole> {
  if (value instanceof Hole) {
    yield* ['"', value, '"']
    return
  }
  const isList = Array.isArray(value)
  const members = isList
    ? value.map((one: unknown) => ['', one] as const)
    : isObject(value)
      ? Object.entries(value).map(([name, one]) => [`${JSON.stringify(name)}: `, one] as const)
      : []
  if (members.length === 0) {
    yield escaped(JSON.stringify(value))
    return
  }
  yield isList ? '[' : '{'
  for (const [index, [name, one]] of members.entries()) {
    yield `${index === 0 ? '' : ','}\n${indent}  ${name}`
    yield* pieces(one, `${indent}  `)
  }
  yield `\n${indent}${isList ? ']' : '}'}`
}

function head({ exported, secrets, lines }: Script): readonly string[] {
  const keeps = lines.some((line) => line.startsWith('keep '))
  const scopes = scopesToApply(exported.steps).join(' ')
  return [
    '#!/bin/sh',
    '# What `behalf provision --apply` would do, call by call. It looks for nothing that is there already: run it once, then',
    '# `behalf provision`, which says whether anything is left.',
    ...(scopes === '' ? ['# Nothing is to be done.'] : []),
    `# AUTH0_MANAGEMENT_TOKEN: a token for the Management API${scopes === '' ? '' : `, for ${scopes}`}`,
    ...[...secrets].map((variable) => `# ${variable}: the secret that is set`),
    ...(keeps ? ['# ENV_FILE: where ids and secrets are appended; .env unless set'] : []),
    'set -eu',
    'umask 077',
    `api=${word([exported.url])}`,
    ...['AUTH0_MANAGEMENT_TOKEN', ...secrets].map((variable) => `: "\${${variable}:?is needed}"`),
    FUNCTIONS,
    ...(keeps ? [KEEP] : []),
  ]
}

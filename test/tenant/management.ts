/** A caller of a tenant's Management API, which holds every request and answer against Auth0's own description of it. */
import assert from 'node:assert/strict'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import type { Tenant } from '../../src/tenant/index.ts'
import { readJson, skip } from '../vectors/folder.ts'

export type Json = Record<string, unknown>

export interface Told {
  readonly status: number
  readonly headers: Headers
  /** Undefined for an answer without a body. */
  readonly body: Json
}

export interface CallOptions {
  readonly body?: unknown
  /** Separated by spaces. Default: every one. */
  readonly scope?: string
  /** Default: a new one with the scope; null for none. */
  readonly token?: string | null
}

/** Calls, for example, `GET /clients?page=0`. */
export async function call(
  tenant: Tenant,
  request: string,
  { body, scope, token }: CallOptions = {},
): Promise<Told> {
  const [method = '', target = ''] = request.split(' ')
  const bearer = token === undefined ? await tenant.managementToken(scope) : token
  const response = await fetch(`${tenant.url}api/v2${target}`, {
    method,
    headers: {
      ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const told = {
    status: response.status,
    headers: response.headers,
    body: (text === '' ? undefined : JSON.parse(text)) as Json,
  }
  assertContract({ method, target, body }, told)
  return told
}

/** What must go well. */
export async function called(
  tenant: Tenant,
  request: string,
  body?: unknown,
  options: CallOptions = {},
): Promise<Json> {
  const told = await call(tenant, request, { ...options, body })
  const status = { GET: 200, POST: 201, PATCH: 200, DELETE: 204 }[request.split(' ')[0]!]
  assert.equal(told.status, status, JSON.stringify(told.body))
  return told.body
}

/** Fails unless this was refused, in Auth0's envelope. */
export function assertFailed({ status, body }: Told, expected: number, code?: string): void {
  assert.equal(status, expected, JSON.stringify(body))
  assert.equal(body['statusCode'], expected)
  if (code !== undefined) assert.equal(body['errorCode'], code, JSON.stringify(body))
}

/** Where Auth0's tenants are known to do otherwise than its description says, and this one does as they do. */
export const DEVIATIONS = {
  'PATCH /resource-servers/{id}': 'answers 200, not 201',
  'a missing API': 'is 404 to PATCH, which lists none',
  'a query': 'is refused with 400 by the list of client grants, too, which lists none',
  token_encryption: 'is told with thumbprint_sha256 in place of its pem',
  token_lifetime_for_web: 'may be given, though no request has it',
  'one credential': 'may be read, changed and deleted, which no path is for',
  'the last page': 'of checkpoints fits two descriptions of which one is to fit',
} as const

interface Described {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DescribedOperation>>>>
}

interface DescribedOperation {
  readonly responses: Readonly<Record<string, { content?: unknown }>>
  readonly requestBody?: unknown
  readonly parameters?: readonly { readonly name: string }[]
}

const described = skip ? undefined : readJson<Described>('auth0', 'management-api.openapi.json')
const ajv = new Ajv2020({ strict: false, validateFormats: false, logger: false })
if (described !== undefined) ajv.addSchema(anyOf(described), 'api')

/** See the last of {@link DEVIATIONS}. */
function anyOf(value: Described): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value).replaceAll('"oneOf":', '"anyOf":')) as Json
}

function schema(...pointer: readonly string[]): ValidateFunction {
  const path = pointer.map((one) => one.replaceAll('~', '~0').replaceAll('/', '~1'))
  const found = ajv.getSchema(`api#/${path.map(encodeURIComponent).join('/')}`)
  assert.ok(found, `the description has no ${pointer.join(' ')}`)
  return found
}

const JSON_CONTENT = ['content', 'application/json', 'schema'] as const

/** What judges the body of a request, by the description. */
export function requestSchema(method: string, path: string): ValidateFunction {
  return schema('paths', path, method.toLowerCase(), 'requestBody', ...JSON_CONTENT)
}

export interface Asked {
  readonly method: string
  readonly target: string
  readonly body: unknown
}

/** Fails unless the request is as described, whatever becomes of it; see {@link DEVIATIONS}. */
export function assertAsked({ method, target, body }: Asked): void {
  const path = pathOf(target)
  if (described === undefined || path === undefined) return
  const operation = described.paths[path]?.[method.toLowerCase()]
  assert.ok(operation, `the description has no ${method} ${path}`)
  const known = operation.parameters?.map(({ name }) => name) ?? []
  for (const name of new URL(target, 'http://tenant').searchParams.keys()) {
    assert.ok(known.includes(name), `${method} ${path} takes no ${name}`)
  }
  assert.equal(body !== undefined, operation.requestBody !== undefined, `${method} ${path}`)
  if (body !== undefined) assertValid(requestSchema(method, path), body)
}

/** Fails unless both the request and its answer are as described, but for {@link DEVIATIONS}. */
export function assertContract({ method, target, body }: Asked, told: Omit<Told, 'headers'>): void {
  if (told.status >= 400) assertEnvelope(told)
  const path = pathOf(target)
  if (described === undefined || path === undefined) return
  const operation = described.paths[path]?.[method.toLowerCase()]
  assert.ok(operation, `the description has no ${method} ${path}`)
  const status = method === 'PATCH' && path === '/resource-servers/{id}' && told.status === 200
  const expected = status ? '201' : String(told.status)
  const isListed = Object.hasOwn(operation.responses, expected)
  if (told.status >= 500) return
  const isKnown =
    (told.status === 404 && method === 'PATCH') || (told.status === 400 && method === 'GET')
  assert.ok(isListed || isKnown, `${method} ${path} does not answer ${told.status}`)
  if (told.status >= 300) return
  if (body !== undefined) assertValid(requestSchema(method, path), withoutWebLifetime(body))
  if (told.status === 204) return
  const answer = schema('paths', path, method.toLowerCase(), 'responses', expected, ...JSON_CONTENT)
  assertValid(answer, withPem(told.body))
}

function assertEnvelope({ status, body }: Omit<Told, 'headers'>): void {
  const last = status === 401 ? 'attributes' : 'errorCode'
  assert.deepEqual(Object.keys(body), ['statusCode', 'error', 'message', last])
}

function assertValid(validate: ValidateFunction, value: unknown): void {
  assert.ok(validate(value), `${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`)
}

/** As the description writes it; undefined for what only real tenants have, and this one. */
function pathOf(target: string): string | undefined {
  const [, kind = '', name, inner, one] = target.replace(/\?.*/, '').split('/')
  if (one !== undefined) return undefined
  if (inner === 'credentials') return `/${kind}/{client_id}/credentials`
  return `/${kind}${name === undefined ? '' : '/{id}'}${inner === undefined ? '' : `/${inner}`}`
}

function withoutWebLifetime(body: unknown): unknown {
  const { token_lifetime_for_web: _, ...rest } = body as Json
  return rest
}

function withPem(body: unknown): unknown {
  return JSON.parse(JSON.stringify(body), (name, value: unknown) => {
    if (name !== 'encryption_key') return value
    const { thumbprint_sha256: print, ...key } = value as Json
    assert.match(String(print), /^[\w-]{43}$/)
    return { ...key, pem: 'not told' }
  })
}

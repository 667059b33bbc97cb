/** Every field that is compared, of every object, broken by hand in every way that Auth0's description allows. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { apply } from '../../src/provision/apply.ts'
import { AnyOf, isObject, merged, nameOf, type Fields } from '../../src/provision/merge.ts'
import type { Desired } from '../../src/provision/desired.ts'
import type { Step } from '../../src/provision/step.ts'
import { call } from '../tenant/management.ts'
import type { Scope } from '../system.ts'
import { readJson } from '../vectors/folder.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { done, start, TARGET, wholeOf, type Setting, type Wants } from '../provision/tenant.ts'

const OPTIONS = { pruneScopes: false, lagMs: 1 }

function publicKey(): string {
  return generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).publicKey
}

const ITSELF = 'https://stock.internal'
const ANOTHER_KEY = publicKey()

/** All that a configuration can ask for. */
const ALL: Wants = {
  changes: {
    'routes[1]': {
      match: { path: '/stock' },
      authenticate: { api: 'storefront' },
      exchange: { grant: 'client-credentials', audience: ITSELF, scopes: ['stock:read'] },
      proxy: { upstream: 'http://127.0.0.1:9001' },
    },
    provision: {
      audiences: {
        [TARGET]: {
          ...{ name: 'Orders', tokenLifetime: 600, tokenDialect: 'rfc9068_profile_authz' },
          ...{ signingAlg: 'PS256', enforcePolicies: true, allowOfflineAccess: true },
          authorizationDetails: ['payment', 'refund'],
          scopes: { 'orders:write': 'Change orders' },
          proofOfPossession: { mechanism: 'dpop', required: true, requiredFor: 'all_clients' },
          subjectTypeAuthorization: { user: 'require_client_grant', client: 'deny_all' },
          skipConsentForVerifiableFirstPartyClients: true,
          tokenEncryption: {
            encryptionKey: { alg: 'RSA-OAEP-256', pem: publicKey(), kid: 'one', name: 'first' },
          },
          consentPolicy: 'transactional-authorization-with-mfa',
        },
      },
      grants: [
        { api: 'storefront', audience: TARGET, authorizationDetailsTypes: ['payment'] },
        {
          ...{ api: 'storefront', audience: ITSELF, subjectType: 'client' },
          ...{ organizationUsage: 'require', allowAnyOrganization: true },
        },
      ],
    },
  },
}

interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
}

interface Described {
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

const BODIES = {
  'resource-server': 'UpdateResourceServerRequestContent',
  client: 'UpdateClientRequestContent',
  'client-grant': 'UpdateClientGrantRequestContent',
} as const

/** What a value could be instead, by the description of its field. */
function* others({ components }: Described, schema: Schema, value: unknown): Iterable<unknown> {
  const name = schema.$ref?.split('/').at(-1)
  const {
    type,
    enum: values,
    properties = {},
    items = {},
  } = components.schemas[name ?? ''] ?? schema
  if ([type].flat().includes('null')) yield null
  if (values !== undefined) yield* values.filter((one) => one !== value && one !== null)
  else if (typeof value === 'boolean') yield !value
  else if (typeof value === 'number') yield value + 1
  else if (typeof value === 'string') yield value.includes('BEGIN') ? ANOTHER_KEY : `${value}-2`
  else if (Array.isArray(value)) {
    yield []
    for (const [index, one] of (value as readonly unknown[]).entries()) {
      yield value.toSpliced(index, 1)
      for (const other of others({ components }, items, one)) yield value.with(index, other)
    }
  } else if (isObject(value)) {
    for (const [member, one] of Object.entries(value)) {
      const { [member]: _, ...rest } = value
      yield rest
      for (const other of others({ components }, properties[member] ?? {}, one)) {
        yield { ...value, [member]: other }
      }
    }
  }
}

/** Whether a value will do. */
function suffices(wanted: unknown, value: unknown): boolean {
  if (wanted instanceof AnyOf) return wanted.values.includes(value)
  if (Array.isArray(wanted)) {
    const there = Array.isArray(value) ? (value as readonly unknown[]) : []
    return wanted.every((one) =>
      there.some((other) => nameOf(other) === nameOf(one) && suffices(one, other)),
    )
  }
  if (!isObject(wanted)) return wanted === value
  return isObject(value) && Object.keys(wanted).every((one) => suffices(wanted[one], value[one]))
}

/**
 * Without the field that is broken: scopes that nobody asked for stay. And without the secret that a tenant keeps of an API
 * that signed by it once.
 */
function besides(whole: unknown, field: string): unknown {
  return JSON.parse(
    JSON.stringify(whole, (name, value: unknown) =>
      name === field || name === 'signing_secret' ? undefined : value,
    ),
  )
}

function pathOf({ kind, id, name }: Step): string {
  return `/${kind}s/${encodeURIComponent(kind === 'resource-server' ? name : id!)}`
}

/** What it takes to look at one object, and no more: a hundred of them are broken. */
function around(wanted: Desired, { wanted: object }: Step): Desired {
  const sources = wanted.clients.map(({ identifier }) => identifier)
  const isServer = object.kind === 'resource-server'
  return {
    ...wanted,
    servers: wanted.servers.filter((one) =>
      isServer ? one.identifier === object.identifier : sources.includes(one.identifier),
    ),
    clients: isServer ? [] : wanted.clients,
    grants: object.kind === 'client-grant' ? wanted.grants : [],
  }
}

/** @returns false where the tenant does not take it like that */
async function breaks(
  setting: Setting,
  step: Step,
  field: string,
  value: unknown,
): Promise<boolean> {
  const { tenant, management, steps } = setting
  const wanted = around(setting.wanted, step)
  const before = besides(wholeOf(tenant), field)
  const what = `${step.kind} ${step.name} ${field} = ${JSON.stringify(value)}`
  const { status, body: answer } = await call(tenant, `PATCH ${pathOf(step)}`, {
    body: { [field]: value },
  })
  if (status !== 200) return false
  const asked = (step.wanted.fields as Fields)[field]
  // What is left out of a change may stay; of a key the tenant tells a thumbprint.
  const now = field === 'token_encryption' ? value : (answer[field] ?? value)
  const isGood = suffices(asked, now)
  const expected = isGood ? [] : [`update ${step.kind} ${field}`]
  assert.deepEqual(done(await steps(wanted)), expected, what)
  const calls = tenant.managementCalls().length
  await apply(management, wanted, OPTIONS)
  const sent = tenant
    .managementCalls()
    .slice(calls)
    .filter(({ method }) => method !== 'GET')
  assert.deepEqual(
    sent.map(({ method, body }) => [method, Object.keys(body as object)]),
    isGood ? [] : [['PATCH', [field]]],
    what,
  )
  assert.deepEqual(besides(wholeOf(tenant), field), before, what)
  const body = { [field]: merged(undefined, asked) }
  assert.equal((await call(tenant, `PATCH ${pathOf(step)}`, { body })).status, 200, what)
  return true
}

export interface DriftSize {
  /** In how many ways a field is broken, at most. */
  readonly ways: number
}

export const drift: Load = {
  name: 'drift',
  claim:
    'each field of each object is found broken, and mended by one call that touches nothing else',
  limitMs: 10 * 60_000,
  judge: (scope) => judgeDrift(scope, { ways: Infinity }),
}

export async function judgeDrift(scope: Scope, { ways }: DriftSize): Promise<Finding> {
  const described = readJson<Described>('auth0', 'management-api.openapi.json')
  const setting = await start(scope, ALL)
  await apply(setting.management, setting.wanted, OPTIONS)
  const counts = { fields: 0, broken: 0, refused: 0 }
  const faults = new Faults()
  for (const step of await setting.steps()) {
    const body = described.components.schemas[BODIES[step.kind]]?.properties ?? {}
    for (const [field, wanted] of Object.entries(step.wanted.fields as Fields)) {
      if (wanted === undefined || wanted === null) continue
      const values = [...others(described, body[field] ?? {}, merged(undefined, wanted))]
      const unique = [...new Map(values.map((one) => [JSON.stringify(one), one])).values()]
      let broken = 0
      for (const value of unique) {
        if (broken === ways) break
        try {
          if (await breaks(setting, step, field, value)) broken++
          else counts.refused++
        } catch (error) {
          faults.add((error as Error).message)
          broken++
        }
      }
      if (broken === 0) faults.add(`${step.kind} ${step.name} ${field} was not broken at all`)
      counts.fields++
      counts.broken += broken
    }
  }
  const left = done(await setting.steps())
  if (left.length > 0) faults.add(`left: ${left.join('; ')}`)
  if (counts.fields < 20) faults.add(`only ${counts.fields} fields were broken`)
  return { counts, faults: faults.told }
}

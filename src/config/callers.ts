import { createPublicKey, type KeyObject } from 'node:crypto'
import type { z } from 'zod'
import { algorithmOf, goTogether } from './clients.ts'
import type { Api, CallerKey, Route, TokenEndpointConfig } from './config.ts'
import type { endpoints } from './endpoint-options.ts'
import type { Faults } from './faults.ts'
import { materialOf, type MaterialContext, privateKeyOf, textOf } from './material.ts'
import { unknownName } from './parts.ts'

type TokenInput = NonNullable<z.output<typeof endpoints>['token']>

export interface CallersContext {
  readonly faults: Faults
  /** Where relative paths start. */
  readonly folder: string
  /** Undefined where `server` has faults. */
  readonly server: { readonly publicOrigin?: unknown; readonly replicas: number } | undefined
  /** Whether replicas share Redis, which knows the assertions that were used. */
  readonly shares: boolean
}

const AT = ['endpoints', 'token'] as const

/** Whether callers authenticate as the API's client by a signed assertion. Otherwise they send the client's secret. */
export function signs({ callers = {} }: Pick<TokenInput, 'callers'>, api: Api): boolean {
  return Object.hasOwn(callers, api.name) || api.client?.method === 'private_key_jwt'
}

/**
 * The public keys that verify callers' assertions: the configured ones, else the public half of the client's own key.
 *
 * @param routes the routes that the endpoint lists
 */
export function resolveCallers(
  input: TokenInput,
  routes: readonly Route[],
  context: CallersContext,
): TokenEndpointConfig['callerKeys'] {
  const { faults } = context
  const apis = new Set(routes.flatMap(({ authenticate }) => authenticate.apis))
  refuseForeign(input, apis, faults)
  const keys = new Map<Api, readonly CallerKey[]>()
  for (const api of input.clients === 'none' ? [] : apis) {
    if (!signs(input, api)) continue
    const given = input.callers?.[api.name]
    keys.set(api, given === undefined ? ownKeys(api, context) : givenKeys(api, given, context))
  }
  checkNeeds(input, keys.size > 0, context)
  return keys
}

/** Refuses `callers` that could never be used. */
function refuseForeign(
  { clients, callers }: TokenInput,
  apis: ReadonlySet<Api>,
  faults: Faults,
): void {
  const at = [...AT, 'callers']
  if (callers === undefined) return
  if (clients === 'none') return faults.add(at, 'is of no use with `clients: none`')
  const byName = new Map(Array.from(apis, (api) => [api.name, api]))
  for (const name of Object.keys(callers)) {
    const api = byName.get(name)
    const unknown = (): string => `${unknownName('API', name, byName.keys())} on the listed routes`
    const fault =
      api === undefined ? unknown() : api.client === undefined ? 'has no `client`' : undefined
    if (fault !== undefined) faults.add(at, fault, { key: name })
  }
}

/** Checks what assertions need beside keys: an address that they are for, and a store that knows all used ones. */
function checkNeeds(
  { replay, callers }: TokenInput,
  needed: boolean,
  { server, shares, faults }: CallersContext,
): void {
  if (server === undefined) return
  if (!needed) {
    if (replay !== undefined) {
      faults.add([...AT, 'replay'], 'is of no use: no client here signs who it is')
    }
    return
  }
  const at = [...AT, callers === undefined ? 'routes' : 'callers']
  if (server.publicOrigin === undefined) {
    faults.add(at, 'needs `server.publicOrigin`: a signed assertion names the address it is for')
  }
  if (server.replicas > 1 && !shares && replay === undefined) {
    faults.add(
      at,
      'needs `cache.redis`, or `replay: local`: with several replicas nobody knows all assertions that were used, and each takes an assertion once',
    )
  }
}

function ownKeys({ name, client }: Api, { faults, folder }: CallersContext): readonly CallerKey[] {
  if (client?.method !== 'private_key_jwt') return []
  const { privateKey, algorithm, keyId } = client
  const context = { at: ['apis', name, 'client'], faults, folder }
  const text = 'pem' in privateKey ? privateKey.pem : textOf(privateKey.file, 'privateKey', context)
  const key = text === undefined ? undefined : privateKeyOf(text, 'privateKey', context)
  return key === undefined ? [] : [{ publicKey: pemOf(createPublicKey(key)), algorithm, keyId }]
}

type KeyInput = NonNullable<TokenInput['callers']>[string][number]

function givenKeys(
  { name }: Api,
  given: readonly KeyInput[],
  { faults, folder }: CallersContext,
): readonly CallerKey[] {
  return given.flatMap((one, index) => {
    const key = givenKey(one, { at: [...AT, 'callers', name, index], faults, folder })
    return key === undefined ? [] : [key]
  })
}

function givenKey(
  { publicKey: written, algorithm, keyId }: KeyInput,
  context: MaterialContext,
): CallerKey | undefined {
  const { at, faults } = context
  const read = materialOf(written, 'publicKey', context)
  const key = read && publicKeyOf(read.text, context)
  const fitting = key && algorithmOf(key, 'publicKey', context)
  if (key === undefined || fitting === undefined) return undefined
  if (algorithm !== undefined && !goTogether(algorithm, fitting)) {
    faults.add([...at, 'algorithm'], 'does not go with the kind of the public key')
  }
  return { publicKey: pemOf(key), algorithm: algorithm ?? fitting, keyId }
}

/** NIST SP 800-56B, section 6.2. With the exponent 1 every message is its own signature. */
const LEAST_EXPONENT = 65_537n

/** Takes exactly one key. Node would silently ignore a second, until a caller signs with that one. */
function publicKeyOf(text: string, { at, faults }: MaterialContext): KeyObject | undefined {
  const option = [...at, 'publicKey']
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    faults.add(option, 'is a private key: only who asks should have it')
    return undefined
  }
  try {
    if (!/^\s*-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----\s*$/.test(text)) throw text
    const key = createPublicKey(text)
    const { publicExponent = LEAST_EXPONENT } = key.asymmetricKeyDetails ?? {}
    if (publicExponent >= LEAST_EXPONENT) return key
    faults.add(option, 'has a small exponent: its signatures prove nothing')
  } catch {
    faults.add(option, 'must be one public key in PEM (SubjectPublicKeyInfo), or a file with it')
  }
  return undefined
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString()
}

import type { KeyObject } from 'node:crypto'
import { resolve } from 'node:path'
import type { z } from 'zod'
import type { Client, Issuer, Material, ProofAlgorithm } from './config.ts'
import { identityOf, materialOf, privateKeyOf, textOf, type MaterialContext } from './material.ts'
import { MANNERS } from './profiles.ts'
import type { apiSchema } from './schema.ts'

export type ClientInput = NonNullable<z.output<typeof apiSchema>['client']>

export interface ClientContext extends MaterialContext {
  readonly issuer: Issuer
}

/** The ways to authenticate: for each main option, the options that go with it and the values of `method` for it. */
const WAYS = {
  secret: { with: [], methods: ['client_secret_post', 'client_secret_basic'] },
  privateKey: { with: ['keyId', 'algorithm'], methods: ['private_key_jwt'] },
  certificate: { with: ['key'], methods: ['tls_client_auth'] },
  assertionFile: { with: [], methods: [] },
} as const satisfies Record<string, { with: readonly string[]; methods: readonly string[] }>

type Way = keyof typeof WAYS
const ALL_WAYS = Object.keys(WAYS) as readonly Way[]

/** Resolves a client; undefined where it has faults. */
export function resolveClient(input: ClientInput, context: ClientContext): Client | undefined {
  const { at, faults } = context
  const way = wayOf(input, context)
  if (way === undefined) return undefined
  const certified = input.certificate !== undefined
  for (const other of ALL_WAYS) {
    for (const option of WAYS[other].with) {
      if (other === way || input[option] === undefined) continue
      if (option === 'key' && certified) continue
      faults.add([...at, option], `is of no use without \`${other}\``)
    }
  }
  const methods: readonly string[] = WAYS[way].methods
  if (input.method !== undefined && !methods.includes(input.method)) {
    faults.add([...at, 'method'], `does not go with \`${way}\``)
  }
  const client = MAKERS[way](input, context)
  const boundTo = {
    ...(way !== 'certificate' && certified && identityOf(input, context)),
    ...(input.dpopKey !== undefined && { dpopKey: dpopKeyOf(input.dpopKey, context) }),
  }
  return client === undefined || faults.within(at) ? undefined : { ...client, ...boundTo }
}

function wayOf(input: ClientInput, { at, faults }: ClientContext): Way | undefined {
  const given = ALL_WAYS.filter((one) => input[one] !== undefined)
  // Beside another way to authenticate, the certificate does not authenticate the client: tokens are bound to it.
  const [way, ...others] = given.length > 1 ? given.filter((one) => one !== 'certificate') : given
  if (way === undefined) {
    const choice = 'or a `privateKey`, a `certificate` with its `key`, or an `assertionFile`'
    faults.add([...at, 'secret'], `is required, ${choice}`)
  }
  for (const other of others) {
    faults.add([...at, other], `stands beside \`${way}\`: a client authenticates in one way`)
  }
  return others.length > 0 ? undefined : way
}

const MAKERS: Readonly<
  Record<Way, (input: ClientInput, context: ClientContext) => Client | undefined>
> = {
  secret: ({ id, method, secret = '' }, { issuer }) => ({
    id,
    method:
      method === 'client_secret_post' || method === 'client_secret_basic'
        ? method
        : MANNERS[issuer.profile].secretMethod,
    secret,
  }),
  privateKey({ id, privateKey = '', keyId, algorithm }, context) {
    const read = materialOf(privateKey, 'privateKey', context)
    const key = read && privateKeyOf(read.text, 'privateKey', context)
    const fitting = key && algorithmOf(key, 'privateKey', context)
    if (fitting !== undefined && algorithm !== undefined && !goTogether(algorithm, fitting)) {
      const { at, faults } = context
      faults.add([...at, 'algorithm'], 'does not go with the kind of the private key')
    }
    if (read === undefined || fitting === undefined) return undefined
    const { material } = read
    return {
      id,
      method: 'private_key_jwt',
      privateKey: material,
      keyId,
      algorithm: algorithm ?? fitting,
    }
  },
  certificate(input, context) {
    const identity = identityOf(input, context)
    return identity && { id: input.id, method: 'tls_client_auth', ...identity }
  },
  assertionFile({ id, assertionFile = '' }, context) {
    const file = resolve(context.folder, assertionFile)
    if (textOf(file, 'assertionFile', context) === undefined) return undefined
    return { id, method: 'assertion_file', assertion: { file } }
  },
}

function dpopKeyOf(written: string, context: ClientContext): Material | undefined {
  const read = materialOf(written, 'dpopKey', context)
  const key = read && privateKeyOf(read.text, 'dpopKey', context)
  return key && algorithmOf(key, 'dpopKey', context) && read?.material
}

const SMALLEST_RSA_BITS = 2_048

/** The default algorithm for a key, public or private; undefined for a key of another kind. */
export function algorithmOf(
  { asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject,
  option: string,
  { at, faults }: MaterialContext,
): ProofAlgorithm | undefined {
  const isRsa = type === 'rsa' && (details.modulusLength ?? 0) >= SMALLEST_RSA_BITS
  const isP256 = type === 'ec' && details.namedCurve === 'prime256v1'
  if (!isRsa && !isP256) {
    faults.add([...at, option], 'must be an RSA key of 2048 bits or more, or one of P-256')
    return undefined
  }
  return isRsa ? 'RS256' : 'ES256'
}

export function goTogether(one: ProofAlgorithm, other: ProofAlgorithm): boolean {
  return (one === 'ES256') === (other === 'ES256')
}

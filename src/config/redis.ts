import type { Path } from './faults.ts'
import {
  areCertificates,
  identityOf,
  type Material,
  type MaterialContext,
  materialOf,
} from './material.ts'
import type { RedisInput } from './redis-options.ts'

export interface TcpAddress {
  readonly host: string
  readonly port: number
}

/** One server, a Cluster by some of its nodes, or the master that the Sentinels name. */
export type RedisServers =
  | { readonly kind: 'single'; readonly address: TcpAddress | { readonly path: string } }
  | { readonly kind: 'cluster'; readonly nodes: readonly TcpAddress[] }
  | {
      readonly kind: 'sentinel'
      readonly name: string
      readonly nodes: readonly TcpAddress[]
      /** The credentials for the Sentinels themselves. */
      readonly user: string | undefined
      readonly password: string | undefined
    }

export interface RedisTls {
  /** Undefined: Node's own. */
  readonly authorities: Material | undefined
  readonly identity: { readonly certificate: Material; readonly key: Material } | undefined
  /** The name that the servers' certificates must have. Undefined: the host of each address. */
  readonly serverName: string | undefined
}

/** The cache level that replicas share. */
export interface RedisConfig {
  readonly servers: RedisServers
  /** Undefined: the default user. */
  readonly user: string | undefined
  readonly password: string | undefined
  /** Default 0. */
  readonly database: number
  /** Undefined: connections are in the clear. */
  readonly tls: RedisTls | undefined
  /** Keys of 32 bytes each. The first seals new entries, and all of them open entries. */
  readonly sealingKeys: readonly Buffer[]
  /** Whether entries that only the sealing key protects are shared, too. Default false. */
  readonly shareContext: boolean
  /** How long the gateway waits for an answer, in milliseconds. Default 20. */
  readonly timeoutMs: number
  /** The version of Redis's protocol. Default 3. */
  readonly resp: 2 | 3
}

const PORT = 6379
const SENTINEL_PORT = 26379
const WAYS = ['url', 'cluster', 'sentinel'] as const

/** Resolves `cache.redis`; undefined where it has faults. */
export function resolveRedis(input: RedisInput, context: MaterialContext): RedisConfig | undefined {
  const { at, faults } = context
  const servers = serversOf(input, context)
  checkCredentials(input, context)
  const urls = addressesOf(input)
  if (new Set(urls.map(isSecured)).size > 1) {
    const where: Path = input.cluster ? [...at, 'cluster'] : [...at, 'sentinel', 'nodes']
    faults.add(where, 'must be all `redis:` or all `rediss:`')
  }
  const tls = tlsOf(input.tls, urls, { ...context, at: [...at, 'tls'] })
  if (servers === undefined || faults.within(at)) return undefined
  const held = input.url?.startsWith('redis') ? new URL(input.url) : undefined
  return {
    servers,
    user: heldBy(held?.username) ?? input.user,
    password: heldBy(held?.password) ?? input.password,
    database: Number(held?.pathname.slice(1) ?? input.database ?? 0),
    tls: urls.some(isSecured) ? tls : undefined,
    sealingKeys: input.sealingKeys.map((key) => Buffer.from(key, 'base64')),
    shareContext: input.shareContext,
    timeoutMs: input.timeout,
    resp: input.protocol,
  }
}

function heldBy(part: string | undefined): string | undefined {
  return part === undefined || part === '' ? undefined : decodeURIComponent(part)
}

function addressesOf({ url, cluster, sentinel }: RedisInput): readonly string[] {
  return cluster ?? sentinel?.nodes ?? (url === undefined ? [] : [url])
}

function isSecured(url: string): boolean {
  return url.startsWith('rediss:')
}

function serversOf(input: RedisInput, { at, faults }: MaterialContext): RedisServers | undefined {
  const { url, cluster, sentinel } = input
  const [first, ...others] = WAYS.filter((way) => input[way] !== undefined)
  if (first === undefined) faults.add(at, 'needs one of `url`, `cluster` and `sentinel`')
  for (const other of others) faults.add([...at, other], `does not go with \`${first}\``)
  if (url?.startsWith('unix:')) {
    return { kind: 'single', address: { path: url.slice('unix:'.length) } }
  }
  if (url !== undefined) return { kind: 'single', address: addressOf(url, PORT) }
  if (cluster !== undefined) {
    return { kind: 'cluster', nodes: cluster.map((node) => addressOf(node, PORT)) }
  }
  if (sentinel === undefined) return undefined
  const { name, nodes, user, password } = sentinel
  if (user !== undefined && password === undefined) {
    faults.add([...at, 'sentinel', 'user'], 'needs a `password` beside it')
  }
  const addresses = nodes.map((node) => addressOf(node, SENTINEL_PORT))
  return { kind: 'sentinel', name, nodes: addresses, user, password }
}

function addressOf(url: string, port: number): TcpAddress {
  const { hostname, port: said } = new URL(url)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: said === '' ? port : Number(said) }
}

function checkCredentials(input: RedisInput, { at, faults }: MaterialContext): void {
  const { url, cluster, user, password, database } = input
  const held = url?.startsWith('redis') ? new URL(url) : undefined
  if (held !== undefined && held.password !== '') {
    for (const option of ['user', 'password'] as const) {
      if (input[option] !== undefined) faults.add([...at, option], 'stands in `url` already')
    }
  } else if (user !== undefined && password === undefined) {
    faults.add([...at, 'user'], 'needs a `password` beside it')
  }
  if (database === undefined) return
  if (held !== undefined) faults.add([...at, 'database'], 'is the path of `url`')
  if (cluster !== undefined) faults.add([...at, 'database'], 'is of no use: a Cluster has only 0')
}

function tlsOf(
  input: RedisInput['tls'],
  urls: readonly string[],
  context: MaterialContext,
): RedisTls {
  const { at, faults } = context
  if (input === undefined) {
    return { authorities: undefined, identity: undefined, serverName: undefined }
  }
  const { authorities, certificate, key, serverName } = input
  if (urls.length > 0 && !urls.some(isSecured)) {
    faults.add(at, 'is of no use without `rediss:`')
  }
  if (certificate === undefined && key !== undefined) {
    faults.add([...at, 'key'], 'is of no use without `certificate`')
  }
  const trusted =
    authorities === undefined ? undefined : materialOf(authorities, 'authorities', context)
  if (trusted !== undefined && !areCertificates(trusted.text)) {
    faults.add([...at, 'authorities'], 'must be certificates in PEM, or a file that holds them')
  }
  const identity = certificate === undefined ? undefined : identityOf(input, context)
  return { authorities: trusted?.material, identity, serverName }
}

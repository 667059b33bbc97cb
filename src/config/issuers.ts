import { isIP } from 'node:net'
import type { z } from 'zod'
import type { Api, Issuer } from './config.ts'
import type { Faults, Path } from './faults.ts'
import { many, mapping, part, type Named } from './parts.ts'
import { issuerSchema } from './schema.ts'

export function resolveIssuers(
  raw: Readonly<Record<string, unknown>>,
  faults: Faults,
): Named<Issuer> {
  const issuers = new Map<string, Issuer | undefined>()
  const owners = new Map<string, string>()
  for (const [name, value] of Object.entries(raw)) {
    const path = ['issuers', name]
    const read = faults.within(path) ? undefined : part(issuerSchema, value)
    issuers.set(name, undefined)
    if (read === undefined) continue
    const { issuer, profile, tokenEndpoint, jwksUri, dangerouslyAllowHttp, budget } = read
    const { introspectionEndpoint } = read
    const identifiers = many(issuer)
    const addresses = {
      issuer: identifiers,
      tokenEndpoint: many(tokenEndpoint),
      jwksUri: many(jwksUri),
      introspectionEndpoint: many(introspectionEndpoint),
    }
    for (const [key, urls] of Object.entries(addresses)) {
      for (const [index, url] of urls.entries()) {
        if (dangerouslyAllowHttp || isPrivate(url)) continue
        const steps = Array.isArray(mapping(value)[key]) ? [...path, key, index] : [...path, key]
        faults.add(steps, 'must be `https:`: `http:` is for loopback hosts')
      }
    }
    for (const identifier of identifiers) {
      const owner = owners.get(identifier)
      // Keys and endpoints are found by identifier: two issuers with the same one would share them.
      if (owner !== undefined)
        faults.add([...path, 'issuer'], `repeats an identifier of issuers.${owner}`)
      owners.set(identifier, name)
    }
    refuseUnusedManagement(read, path, faults)
    const smallest = profile === 'auth0' ? AUTH0_SMALLEST : undefined
    issuers.set(name, {
      name,
      identifiers,
      profile,
      tokenEndpoint,
      jwksUri,
      dangerouslyAllowHttp,
      ...(introspectionEndpoint !== undefined && { introspectionEndpoint }),
      staleForMs: read.staleFor,
      budget: budget ?? smallest,
      ...(read.management && { management: read.management }),
    })
  }
  return issuers
}

function refuseUnusedManagement(
  { profile, management }: z.output<typeof issuerSchema>,
  path: Path,
  faults: Faults,
): void {
  if (management === undefined) return
  const at = [...path, 'management']
  const { clientId, clientSecret, token } = management
  if (profile !== 'auth0' && profile !== 'auth0-legacy') {
    faults.add(at, 'is of no use: only profiles `auth0` and `auth0-legacy` are set up')
  }
  if (token !== undefined && (clientId ?? clientSecret) !== undefined) {
    faults.add([...at, 'token'], 'stands beside a client: only one of the two may')
  }
}

/** Refuses introspection endpoints that no API uses: they would be ignored. */
export function refuseUnusedIntrospection(
  issuers: readonly Issuer[],
  apis: readonly Api[],
  faults: Faults,
): void {
  for (const issuer of issuers) {
    if (issuer.introspectionEndpoint === undefined) continue
    if (apis.some((api) => api.issuer === issuer && api.introspection === true)) continue
    const at = ['issuers', issuer.name, 'introspectionEndpoint']
    faults.add(at, 'is of no use: no API of the issuer has `introspection`')
  }
}

/** Refuses `staleFor` where all APIs of the issuer have signing secrets, and none uses a key set. */
export function refuseUnusedStaleFor(
  raw: Readonly<Record<string, unknown>>,
  apis: readonly Api[],
  faults: Faults,
): void {
  for (const [name, value] of Object.entries(raw)) {
    const own = apis.filter(({ issuer }) => issuer.name === name)
    if (mapping(value)['staleFor'] === undefined || own.length === 0) continue
    if (own.every(({ verification }) => verification.kind === 'secret')) {
      faults.add(['issuers', name, 'staleFor'], 'is of no use: its APIs have signing secrets')
    }
  }
}

/** The budget of Auth0's smallest plan. */
const AUTH0_SMALLEST = { rate: 2, burst: 1, assumed: true } as const

function isPrivate(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || isLoopback(hostname)
}

/** Whether the host is loopback, where nobody else can listen in. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '')
  if (isIP(bare) === 4) return bare.startsWith('127.')
  return bare === '::1' || bare === 'localhost'
}

/** An issuer on loopback that counts what it is asked, its keys, and the stage that trusts it. */
import { generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { TestContext } from 'node:test'
import { CompactSign, importJWK, type JWK } from 'jose'
import {
  createAuthenticate,
  type Remembered,
  type SubjectToken,
} from '../../src/authenticate/authenticate.ts'
import type { Presented } from '../../src/authenticate/bearer.ts'
import { createCheckProof, type CheckProof } from '../../src/authenticate/dpop.ts'
import { createKeys } from '../../src/authenticate/keys.ts'
import { createMetadata } from '../../src/authenticate/metadata.ts'
import { createVerifier, type Verifier } from '../../src/authenticate/verify.ts'
import type { Api, AsymmetricAlgorithm, Issuer } from '../../src/config/config.ts'
import { createOutbound, type Outbound } from '../../src/outbound.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { createMemoryReplayStore } from '../../src/store/replay.ts'
import { api, AUDIENCE, issuer, listen, presented, route } from '../support.ts'

export const ASYMMETRIC = ['RS256', 'RS512', 'PS256', 'ES256', 'EdDSA'] as const

/** For tests that freeze the clock; nothing happens at this moment. */
export const NOW = Date.parse('2027-01-01T00:00:00Z')

export interface Pair {
  readonly privateKey: JWK
  /** With a `kid`, as a key set holds it. */
  readonly publicKey: JWK & { readonly kid: string }
}

export function pair(algorithm: AsymmetricAlgorithm, kid: string = algorithm): Pair {
  const { privateKey, publicKey } =
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : algorithm === 'EdDSA'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    privateKey: asJwk(privateKey.export({ format: 'jwk' })),
    publicKey: { ...asJwk(publicKey.export({ format: 'jwk' })), kid },
  }
}

function asJwk(key: JsonWebKey): JWK {
  return key as JWK
}

export function claimsOf(iss: string): Record<string, unknown> {
  const seconds = Math.floor(Date.now() / 1_000)
  return { iss, aud: AUDIENCE, sub: 'alice', iat: seconds, exp: seconds + 3_600 }
}

/** Signs any header and any payload, also those that no issuer would. */
export async function signed(
  claims: Record<string, unknown> | string,
  header: Record<string, unknown> & { readonly alg: string },
  key: JWK | string,
): Promise<string> {
  const secret = typeof key === 'string' ? Buffer.from(key) : await importJWK(key, header.alg)
  const payload = typeof claims === 'string' ? claims : JSON.stringify(claims)
  return new CompactSign(Buffer.from(payload)).setProtectedHeader(header).sign(secret)
}

export interface Documents {
  readonly origin: string
  /** The paths that were asked for, in order. */
  readonly requests: string[]
  /** What is answered with status 200; a string as it stands. Everything else is a 404. */
  readonly documents: Map<string, unknown>
  /** Answers everything with this status while it is set. */
  broken: number | undefined
}

export async function serveDocuments(context: TestContext): Promise<Documents> {
  const requests: string[] = []
  const documents = new Map<string, unknown>()
  const origin = await listen(context, (request, response) => {
    const path = request.url ?? ''
    requests.push(path)
    const document = documents.get(path)
    response.statusCode = served.broken ?? (document === undefined ? 404 : 200)
    response.setHeader('content-type', 'application/json')
    response.end(typeof document === 'string' ? document : JSON.stringify(document ?? {}))
  })
  const served: Documents = { origin, requests, documents, broken: undefined }
  return served
}

export interface Gate {
  readonly api: Api
  readonly take: (token: string, given?: Partial<Presented>) => Promise<SubjectToken>
  readonly remembered: () => number
  /** How often a token's signature was looked at. */
  readonly verifications: () => number
}

export function outboundOf(context: TestContext): Outbound {
  const outbound = createOutbound()
  context.after(() => outbound.close())
  return outbound
}

export function gate(context: TestContext, given: Partial<Api>): Gate {
  const guarded = api(given)
  const outbound = outboundOf(context)
  const metadata = createMetadata(guarded.issuer, outbound)
  const { staleForMs } = guarded.issuer
  const verifier = createVerifier(guarded, (identifier) =>
    createKeys(identifier, { metadata, outbound, staleForMs }),
  )
  let verifications = 0
  const counted: Verifier = {
    epoch: verifier.epoch,
    verify: (token) => {
      verifications++
      return verifier.verify(token)
    },
  }
  const verified = createMemoryStore<Remembered>({ maxEntries: 1_000, maxBytes: 16 * 1024 * 1024 })
  const authenticate = createAuthenticate({
    verifiers: new Map([[guarded, counted]]),
    verified,
    checks: new Map(checksOf(guarded)),
  })
  const guardedRoute = route({ authenticate: { apis: [guarded] } })
  return {
    api: guarded,
    take: async (token, given) => authenticate(presented(token, given), guardedRoute),
    remembered: () => verified.size,
    verifications: () => verifications,
  }
}

function checksOf(guarded: Api): readonly [Api, CheckProof][] {
  const { proofOfPossession: dpop } = guarded
  if (dpop?.mechanism !== 'dpop') return []
  const keys = createMemoryStore<KeyObject>({ maxEntries: 10, maxBytes: 65_536 })
  return [
    [guarded, createCheckProof({ api: guarded, dpop, keys, replays: createMemoryReplayStore() })],
  ]
}

/** An API whose issuer publishes these keys at a configured `jwksUri`. */
export async function gateWithKeys(
  context: TestContext,
  algorithms: readonly AsymmetricAlgorithm[],
  keys: readonly JWK[],
  given: Partial<Issuer> & { readonly clockToleranceMs?: number } = {},
): Promise<Gate & { readonly issued: Documents; readonly identifier: string }> {
  const { clockToleranceMs = 5_000, ...rest } = given
  const issued = await serveDocuments(context)
  issued.documents.set('/jwks', { keys })
  const trusted = issuer({
    jwksUri: `${issued.origin}/jwks`,
    tokenEndpoint: `${issued.origin}/token`,
    ...rest,
  })
  const made = gate(context, {
    issuer: trusted,
    verification: { kind: 'jwks', algorithms },
    clockToleranceMs,
  })
  return { ...made, issued, identifier: trusted.identifiers[0]! }
}

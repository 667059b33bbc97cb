import type { KeyObject } from 'node:crypto'
import {
  createAuthenticate,
  type Authenticate,
  type Remembered,
} from '../authenticate/authenticate.ts'
import { createDecrypt } from '../authenticate/decrypt.ts'
import { createCheckProof, type CheckProof } from '../authenticate/dpop.ts'
import { createIntrospectingVerifier } from '../authenticate/introspect.ts'
import { createKeys, type IssuerKeys } from '../authenticate/keys.ts'
import { createMetadata, type Metadata } from '../authenticate/metadata.ts'
import { createNestedVerifier } from '../authenticate/nested.ts'
import { createVerifier, type Verifier } from '../authenticate/verify.ts'
import type { Api, Issuer } from '../config/config.ts'
import type { Outbound } from '../outbound.ts'
import { createMemoryStore } from '../store/memory.ts'
import { createMemoryReplayStore } from '../store/replay.ts'
import { currentDecryptionKeys } from './decryption.ts'
import { createIntrospections } from './introspections.ts'
import { createLasting, type Lease } from './lasting.ts'
import type { ReplaysOf } from './replays.ts'

export interface AuthenticationOptions {
  /** Whose tokens are taken. */
  readonly apis: readonly Api[]
  readonly outbound: Outbound
  /** How many verified tokens are remembered. */
  readonly maxEntries: number
  /** What they may weigh, in bytes. */
  readonly maxBytes: number
  /** What is there already: keys and addresses of issuers. Default: nothing. */
  readonly lease?: Lease
  /** Default: this process alone knows the proofs that were used. */
  readonly proofs?: ProofsOptions | undefined
}

/** What is to be known about proofs beyond this process. */
export interface ProofsOptions {
  readonly replaysOf: ReplaysOf
  /** What nonces are made of where an API names no secret. */
  readonly nonceSecrets: readonly Uint8Array[] | undefined
}

/** The step `authenticate`, and what others need of the issuers that it asks. */
export interface Authentication {
  readonly authenticate: Authenticate
  /** @throws {TypeError} for an issuer of none of the APIs */
  metadataOf(issuer: Issuer): Metadata
  /** Each with the identifier that it is of. */
  keySets(): readonly (readonly [string, IssuerKeys])[]
  /** Closes the connections that are its own; the `outbound` that was given is not. */
  close(): Promise<void>
}

/** Puts together what verifies tokens: for the gateway, and for the commands that do as it does. */
export function createAuthentication(options: AuthenticationOptions): Authentication {
  const { apis, outbound, maxEntries, maxBytes, proofs } = options
  const { lease = createLasting().lease() } = options
  const issuers = new Set(apis.map(({ issuer }) => issuer))
  const metadata = new Map(
    Array.from(issuers, (issuer) => [
      issuer,
      lease.use('metadata', askedAs(issuer), () => createMetadata(issuer, outbound)),
    ]),
  )
  const metadataOf = (issuer: Issuer): Metadata => {
    const found = metadata.get(issuer)
    if (found === undefined) throw new TypeError(`not an issuer of any API: ${issuer.name}`)
    return found
  }
  const keyRing = createKeyRing(metadataOf, { outbound, lease })
  const { keysOf } = keyRing
  const introspections = createIntrospections({ metadataOf, keysOf, outbound })
  const verifiers = new Map(
    apis.map((api) => {
      const jwts = nested(api, createVerifier(api, keysOf(api.issuer)))
      const introspect = introspections.of(api)
      const verifier = introspect && createIntrospectingVerifier({ api, introspect, jwts })
      return [api, verifier ?? jwts]
    }),
  )
  const verified = createMemoryStore<Remembered>({ maxEntries, maxBytes })
  return {
    authenticate: createAuthenticate({ verifiers, verified, checks: proofChecks(apis, proofs) }),
    metadataOf,
    keySets: keyRing.all,
    close: introspections.close,
  }
}

/** What of an issuer decides whom it is asked, and what is believed. */
function askedAs(issuer: Issuer): unknown {
  const { budget: _, management: __, ...asked } = issuer
  return asked
}

function nested({ decryptionKeys }: Api, signed: Verifier): Verifier {
  if (decryptionKeys === undefined) return signed
  const keys = currentDecryptionKeys(decryptionKeys)
  const decrypt = createDecrypt({ keys: keys.fresh })
  return createNestedVerifier({ signed, decrypt, epoch: () => keys.now().epoch })
}

/** The keys of callers that come back: what is dropped is read once more. */
const PROOF_KEYS = { maxEntries: 10_000, maxBytes: 32 * 1024 * 1024 }

/** One for each API that takes proofs. They share what they know, since a proof is for an address, whatever its API. */
function proofChecks(
  apis: readonly Api[],
  { replaysOf, nonceSecrets }: ProofsOptions = alone(),
): ReadonlyMap<Api, CheckProof> {
  const checks = new Map<Api, CheckProof>()
  const keys = createMemoryStore<KeyObject>(PROOF_KEYS)
  for (const api of apis) {
    const { proofOfPossession: dpop } = api
    if (dpop?.mechanism !== 'dpop') continue
    checks.set(api, createCheckProof({ api, dpop, replays: replaysOf(dpop), keys, nonceSecrets }))
  }
  return checks
}

function alone(): ProofsOptions {
  const replays = createMemoryReplayStore()
  return { replaysOf: () => replays, nonceSecrets: undefined }
}

interface KeyRing {
  keysOf(issuer: Issuer): (identifier: string) => IssuerKeys
  all(): readonly (readonly [string, IssuerKeys])[]
}

/** One key set for each identifier of each issuer that has a verifier, however many APIs it has. */
function createKeyRing(
  metadataOf: (issuer: Issuer) => Metadata,
  { outbound, lease }: { readonly outbound: Outbound; readonly lease: Lease },
): KeyRing {
  const rings = new Map<Issuer, Map<string, IssuerKeys>>()
  return {
    keysOf: (issuer) => (identifier) => {
      const ring = rings.get(issuer) ?? new Map<string, IssuerKeys>()
      rings.set(issuer, ring)
      const metadata = metadataOf(issuer)
      const { staleForMs } = issuer
      const keys =
        ring.get(identifier) ??
        lease.use('keys', [askedAs(issuer), identifier], () =>
          createKeys(identifier, { metadata, outbound, staleForMs }),
        )
      ring.set(identifier, keys)
      return keys
    },
    all: () => [...rings.values()].flatMap((ring) => [...ring]),
  }
}

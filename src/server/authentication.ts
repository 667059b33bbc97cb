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
  /** The APIs whose tokens are accepted. */
  readonly apis: readonly Api[]
  readonly outbound: Outbound
  /** How many verified tokens are remembered. */
  readonly maxEntries: number
  /** The most memory for these, in bytes. */
  readonly maxBytes: number
  /** Parts that exist already: keys and addresses of issuers. Default: none. */
  readonly lease?: Lease
  /** Default: this process alone knows the proofs that were used. */
  readonly proofs?: ProofsOptions | undefined
}

/** What the checks of proofs need from outside this process. */
export interface ProofsOptions {
  readonly replaysOf: ReplaysOf
  /** The secrets of nonces, for APIs that configure none. */
  readonly nonceSecrets: readonly Uint8Array[] | undefined
}

/** The step `authenticate`, and what other parts need to know about its issuers. */
export interface Authentication {
  readonly authenticate: Authenticate
  /** @throws {TypeError} the issuer belongs to none of the APIs */
  metadataOf(issuer: Issuer): Metadata
  /** The key sets, each with the identifier of its issuer. */
  keySets(): readonly (readonly [string, IssuerKeys])[]
  /** Closes its own connections, not the `outbound` that was given. */
  close(): Promise<void>
}

/** Puts together what verifies tokens, for the gateway and for commands that verify as it does. */
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

/** What of an issuer's configuration decides where its metadata and keys come from, and how they are used. */
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

/** Keys of callers' proofs that were parsed before: a key that is dropped is parsed again. */
const PROOF_KEYS = { maxEntries: 10_000, maxBytes: 32 * 1024 * 1024 }

/** A check for each API that takes proofs. They share what was used, because a proof is for an address, whatever the API. */
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

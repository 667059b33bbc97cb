import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { reasonOf } from './environment.ts'
import type { Faults, Path } from './faults.ts'

/* Keys and certificates, each given as PEM or as a file. */

/** PEM, or the absolute path of a file that is read again when it changes. */
export type Material = { readonly pem: string } | { readonly file: string }

/** A private key, and the `kid` that tokens name it by, if any. */
export interface NamedKey {
  readonly material: Material
  readonly kid: string | undefined
}

/** The signature algorithms of clients' assertions. */
export type ProofAlgorithm = 'RS256' | 'PS256' | 'ES256'

/** A public key that verifies the assertions of a caller of the token endpoint (RFC 7523, section 3). */
export interface CallerKey {
  /** SubjectPublicKeyInfo in PEM. */
  readonly publicKey: string
  /** The only algorithm that is accepted with this key. */
  readonly algorithm: ProofAlgorithm
  /** The `kid` of an assertion must be this, if it has one. Undefined: any. */
  readonly keyId: string | undefined
}

export interface MaterialContext {
  /** The path of the mapping or list that holds the option. */
  readonly at: Path
  readonly faults: Faults
  /** Where relative paths start. */
  readonly folder: string
}

interface IdentityInput {
  readonly certificate?: string | undefined
  readonly key?: string | undefined
}

/** Reads a certificate and its key; undefined where they have faults. */
export function identityOf(
  { certificate = '', key }: IdentityInput,
  context: MaterialContext,
): { readonly certificate: Material; readonly key: Material } | undefined {
  const { at, faults } = context
  if (key === undefined) {
    faults.add([...at, 'certificate'], 'needs a `key` beside it')
    return undefined
  }
  const [chain, own] = [
    materialOf(certificate, 'certificate', context),
    materialOf(key, 'key', context),
  ]
  if (chain === undefined || own === undefined) return undefined
  checkPair(chain.text, own.text, context)
  return { certificate: chain.material, key: own.material }
}

export interface Read {
  readonly material: Material
  readonly text: string
}

export function materialOf(
  written: string,
  option: string | number,
  context: MaterialContext,
): Read | undefined {
  if (written.includes('-----BEGIN ')) return { material: { pem: written }, text: written }
  const file = resolve(context.folder, written)
  const text = textOf(file, option, context)
  return text === undefined ? undefined : { material: { file }, text }
}

/** Reads a file. No message quotes its path, which may be a key that was written without its PEM frame. */
export function textOf(
  file: string,
  option: string | number,
  { at, faults }: MaterialContext,
): string | undefined {
  try {
    const text = readFileSync(file, 'utf8')
    faults.noteRead(file, text)
    if (text.trim() !== '') return text
    faults.add([...at, option], 'names a file that is empty')
  } catch (error) {
    faults.noteRead(file, undefined)
    faults.add([...at, option], `names a file that cannot be read: ${unquoted(error)}`)
  }
  return undefined
}

function unquoted(error: unknown): string {
  const { errno } = error as NodeJS.ErrnoException
  return errno === undefined ? 'it is no path' : reasonOf(error).split(', ')[0]!
}

export function privateKeyOf(
  pem: string,
  option: string | number,
  { at, faults }: MaterialContext,
): KeyObject | undefined {
  try {
    return createPrivateKey(pem)
  } catch {
    const what = 'must be a private key in PEM without a passphrase, or a file that holds one'
    faults.add([...at, option], what)
    return undefined
  }
}

function checkPair(chain: string, pem: string, context: MaterialContext): void {
  const { at, faults } = context
  const key = privateKeyOf(pem, 'key', context)
  try {
    const certificate = new X509Certificate(chain)
    if (key !== undefined && !certificate.checkPrivateKey(key)) {
      faults.add([...at, 'key'], 'is not the key of the certificate')
    }
  } catch {
    faults.add([...at, 'certificate'], 'must be a certificate in PEM, or a file that holds one')
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Whether the text holds certificates alone. TLS silently skips all else: a missing authority would be noticed late. */
export function areCertificates(text: string): boolean {
  const found = text.match(CERTIFICATE) ?? []
  const begun = text.split('-----BEGIN ').length - 1
  return found.length > 0 && found.length === begun && found.every(isCertificate)
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0
  } catch {
    return false
  }
}

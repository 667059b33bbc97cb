import type { Decrypt } from './decrypt.ts'
import { formOf } from './form.ts'
import { assertCanonical, rejectToken, unverifiedHeader } from './jwt.ts'
import { ACCESS_TOKEN_TYPES, type Verifier } from './verify.ts'

export interface NestedOptions {
  /** Verifies the signed token that was encrypted. */
  readonly signed: Verifier
  readonly decrypt: Decrypt
  /** The epoch of the current decryption keys. */
  readonly epoch: () => string
}

/**
 * Verifies a signed token within an encrypted one (RFC 7519, appendix A.2), nested exactly once. Everybody can encrypt to a
 * public key, so that only the signature within says who made the token (CVE-2026-29000). Does NOT look at claims that are
 * repeated in the header (RFC 7519, section 5.3).
 */
export function createNestedVerifier({ signed, decrypt, epoch }: NestedOptions): Verifier {
  return {
    async verify(token) {
      assertNested(unverifiedHeader(token))
      const { text, epoch: opened } = await decrypt(token)
      if (formOf(text) !== 'signed') rejectToken('what was encrypted is not a signed token')
      assertCanonical(text)
      const verified = await signed.verify(text)
      return { ...verified, epoch: verified.epoch + opened }
    },
    epoch: (issuer) => signed.epoch(issuer) + epoch(),
  }
}

/** RFC 7519, section 5.2. Not every issuer sends `cty`; the plaintext must be a signed token either way. */
const NESTED = /^(?:application\/)?jwt$/i

function assertNested({ typ, cty }: Readonly<Record<string, unknown>>): void {
  if (cty !== undefined && !(typeof cty === 'string' && NESTED.test(cty))) {
    rejectToken('the "cty" header must be JWT: what is encrypted is a signed token')
  }
  if (typ !== undefined && !(typeof typ === 'string' && ACCESS_TOKEN_TYPES.test(typ))) {
    rejectToken('the "typ" header names another kind of token')
  }
}

import type { Decrypt } from './decrypt.ts'
import { formOf } from './form.ts'
import { assertCanonical, rejectToken, unverifiedHeader } from './jwt.ts'
import { ACCESS_TOKEN_TYPES, type Verifier } from './verify.ts'

export interface NestedOptions {
  /** Verifies what was encrypted: a signed token. */
  readonly signed: Verifier
  readonly decrypt: Decrypt
  /** Of the keys that tokens are decrypted with now. */
  readonly epoch: () => string
}

/**
 * Verifies a signed token within an encrypted one (RFC 7519, appendix A.2), nested exactly once: everybody can encrypt, so
 * that an encrypted token says nothing until the signature within it does (CVE-2026-29000). Claims that are repeated in the
 * header (RFC 7519, section 5.3) are not looked at.
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

/** RFC 7519, section 5.2; not every issuer says it, and the signed token has to be one whether it does or not. */
const NESTED = /^(?:application\/)?jwt$/i

function assertNested({ typ, cty }: Readonly<Record<string, unknown>>): void {
  if (cty !== undefined && !(typeof cty === 'string' && NESTED.test(cty))) {
    rejectToken('the "cty" header must be JWT: what is encrypted is a signed token')
  }
  if (typ !== undefined && !(typeof typ === 'string' && ACCESS_TOKEN_TYPES.test(typ))) {
    rejectToken('the "typ" header names another kind of token')
  }
}

import type { KeyObject } from 'node:crypto'

/** RFC 7518, sections 3.3 and 3.5. */
const LEAST_BITS = 2_048
/** NIST SP 800-56B, section 6.2: odd, and above 2^16. With the exponent 1 every message is its own signature. */
const LEAST_EXPONENT = 65_537n
/** Nobody uses larger moduli, and with them whoever chooses the key could make each verification fifty times as costly. */
const MOST_BITS = 8_192
const LARGEST_EXPONENT = 0xffff_ffffn

/** Why an RSA key must not be used; undefined for a sound key. */
export function rsaWeakness(key: KeyObject): string | undefined {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength < LEAST_BITS) return 'is too small'
  if (modulusLength > MOST_BITS) return 'is too large'
  if (publicExponent < LEAST_EXPONENT || publicExponent % 2n === 0n) return 'has a small exponent'
  if (publicExponent > LARGEST_EXPONENT) return 'has a large exponent'
  const { n = '' } = key.export({ format: 'jwk' })
  const modulus = BigInt(`0x${Buffer.from(n, 'base64url').toString('hex')}`)
  return isRoca(modulus) ? 'was made by a generator whose keys can be factored' : undefined
}

const SMALL_PRIMES = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157]

/**
 * CVE-2017-15361 (ROCA): modulo each of these primes, such a modulus is a power of 65537. About one in some hundred million
 * sound keys is as well.
 */
function isRoca(modulus: bigint): boolean {
  return SMALL_PRIMES.every((prime) => powers(65_537, prime).has(Number(modulus % BigInt(prime))))
}

function powers(base: number, modulus: number): ReadonlySet<number> {
  const found = new Set<number>()
  for (let power = 1; !found.has(power); power = (power * base) % modulus) found.add(power)
  return found
}

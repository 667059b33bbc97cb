/** Secrets from documentation, tutorials and standards, which attackers try first. In lower case. */
const PUBLISHED: ReadonlySet<string> = new Set([
  // jwt.io, earlier and today.
  'secret',
  'your-256-bit-secret',
  'your-384-bit-secret',
  'your-512-bit-secret',
  'a-string-secret-at-least-256-bits-long',
  'a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long',
  // RFC 7515, appendix A.1; RFC 7520, section 3.5.
  'aym1syspypbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow',
  'hjtxiz2usn5kbqfbttnwbpdmhkv8fjg-onbc6mxccyg',
  // Defaults of frameworks and tutorials.
  'changeme',
  'change-me',
  'change_me',
  'keyboard cat',
  'mysecret',
  'my-secret',
  'my_secret',
  'mysecretkey',
  'password',
  'secretkey',
  'secret-key',
  'secret_key',
  'shhhhh',
  'shhhhhhared-secret',
  'supersecret',
  'super-secret',
  'super_secret',
  'supersecretkey',
  'topsecret',
  'your-secret',
  'your-secret-key',
  'your_secret_key',
  'your_jwt_secret',
  'yoursecret',
  'jwt_secret',
  'jwt-secret',
  'jwtsecret',
  'test',
])

/** RFC 7518, section 3.2: the key is at least as long as the hash. */
const LEAST_BYTES = 32
/** Random hexadecimal text of 32 bytes has fewer different characters only once in a billion times. */
const LEAST_CHARACTERS = 7

/**
 * Why a secret must not sign tokens (RFC 8725, section 3.5); undefined where no weakness was found. Does NOT prove that the
 * secret is random. The text reveals nothing of the secret.
 *
 * @param isShortAllowed whether fewer than 32 bytes are accepted. Other weaknesses are still refused
 */
export function weaknessOf(secret: string, isShortAllowed: boolean): string | undefined {
  if (!isShortAllowed && isShort(secret)) return 'must be at least 32 bytes long (RFC 7518)'
  if (PUBLISHED.has(secret.toLowerCase())) return 'is a secret that everybody knows'
  if (/-----BEGIN |"kty"\s*:/.test(secret)) {
    return 'is a key pair or half of one: a public key is no secret'
  }
  if (isRepeated(secret)) return 'repeats a part of itself'
  if (isRow(secret)) return 'is a row of neighbouring characters'
  if (new Set(secret).size < Math.min(LEAST_CHARACTERS, secret.length)) {
    return 'has too few different characters'
  }
  return undefined
}

export function isShort(secret: string | Uint8Array): boolean {
  return Buffer.byteLength(secret) < LEAST_BYTES
}

function isRepeated(secret: string): boolean {
  for (let period = 1; period <= secret.length / 2; period++) {
    if (secret.startsWith(secret.slice(period))) return true
  }
  return false
}

/** Whether it is a row like `abcdef…` or `0123456789abcdef…`, forwards or backwards. */
function isRow(secret: string): boolean {
  let neighbours = 0
  for (let index = 1; index < secret.length; index++) {
    if (Math.abs(secret.charCodeAt(index) - secret.charCodeAt(index - 1)) === 1) neighbours++
  }
  return neighbours > secret.length / 2
}

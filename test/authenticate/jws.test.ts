import assert from 'node:assert/strict'
import {
  constants,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes,
} from 'node:crypto'
import { test } from 'node:test'
import { CompactSign } from 'jose'
import { isSigned } from '../../src/authenticate/jws.ts'

interface Pair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

const secret = createSecretKey(Buffer.alloc(64, 's'))
const keys = {
  oct: { privateKey: secret, publicKey: secret },
  rsa: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  p521: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  ed25519: generateKeyPairSync('ed25519'),
} satisfies Record<string, Pair>

const ALGORITHMS = [
  ['HS256', 'oct'],
  ['HS384', 'oct'],
  ['HS512', 'oct'],
  ['RS256', 'rsa'],
  ['RS384', 'rsa'],
  ['RS512', 'rsa'],
  ['PS256', 'rsa'],
  ['PS384', 'rsa'],
  ['PS512', 'rsa'],
  ['ES256', 'p256'],
  ['ES384', 'p384'],
  ['ES512', 'p521'],
  ['EdDSA', 'ed25519'],
  ['Ed25519', 'ed25519'],
] as const

function sign(alg: string, { privateKey }: Pair, text = 'payload'): Promise<string> {
  return new CompactSign(Buffer.from(text)).setProtectedHeader({ alg }).sign(privateKey)
}

/** With another signature: it may be of any length. */
function signedBy(token: string, signature: Buffer): string {
  return token.slice(0, token.lastIndexOf('.') + 1) + signature.toString('base64url')
}

function signatureOf(token: string): Buffer {
  return Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url')
}

for (const [algorithm, kind] of ALGORITHMS) {
  test(`${algorithm}: what jose signs is signed, and nothing else is`, async () => {
    const { publicKey } = keys[kind]
    const token = await sign(algorithm, keys[kind])
    assert.equal(isSigned(token, algorithm, publicKey), true)
    const other = await sign(algorithm, keys[kind], 'another')
    assert.equal(isSigned(signedBy(token, signatureOf(other)), algorithm, publicKey), false)
    const signature = signatureOf(token)
    for (const length of [0, 1, signature.length - 1]) {
      const cut = signedBy(token, signature.subarray(0, length))
      assert.equal(isSigned(cut, algorithm, publicKey), false, `the first ${length} bytes`)
    }
    const longer = signedBy(token, Buffer.concat([signature, Buffer.alloc(1)]))
    assert.equal(isSigned(longer, algorithm, publicKey), false)
    const zeros = signedBy(token, Buffer.alloc(signature.length))
    assert.equal(isSigned(zeros, algorithm, publicKey), false)
  })

  test(`${algorithm}: keys of other kinds have signed nothing by it`, async () => {
    const token = await sign(algorithm, keys[kind])
    for (const [name, { publicKey }] of Object.entries(keys)) {
      assert.equal(isSigned(token, algorithm, publicKey), name === kind, name)
    }
  })
}

test('a signature is good by its own algorithm alone, also where the key is for others', async () => {
  for (const kind of ['oct', 'rsa'] as const) {
    const algorithms = ALGORITHMS.filter(([, of]) => of === kind).map(([algorithm]) => algorithm)
    for (const signed of algorithms) {
      const token = await sign(signed, keys[kind])
      for (const algorithm of algorithms) {
        const is = isSigned(token, algorithm, keys[kind].publicKey)
        assert.equal(is, algorithm === signed, `${signed} by ${algorithm}`)
      }
    }
  }
})

/** The same token, with a signature that jose would not make. */
function signedAs(token: string, digest: string, key: Parameters<typeof signBytes>[2]): string {
  return signedBy(
    token,
    signBytes(digest, Buffer.from(token.slice(0, token.lastIndexOf('.'))), key),
  )
}

test('a PSS salt is as long as the digest (RFC 7518, section 3.5)', async () => {
  const { privateKey, publicKey } = keys.rsa
  const token = await sign('PS256', keys.rsa)
  const padding = constants.RSA_PKCS1_PSS_PADDING
  for (const saltLength of [0, 31, 32, 33]) {
    const salted = signedAs(token, 'sha256', { key: privateKey, padding, saltLength })
    assert.equal(isSigned(salted, 'PS256', publicKey), saltLength === 32, `${saltLength} bytes`)
  }
})

test('another curve of the same size is another algorithm', async () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
  const token = await sign('ES256', keys.p256)
  const [own, others] = [keys.p256, other].map(({ privateKey: key }) =>
    signedAs(token, 'sha256', { key, dsaEncoding: 'ieee-p1363' }),
  )
  assert.equal(isSigned(own!, 'ES256', keys.p256.publicKey), true)
  assert.equal(isSigned(others!, 'ES256', other.publicKey), false)
})

test('a public key is no secret: what was made of its text is not signed by it', async () => {
  const pem = keys.rsa.publicKey.export({ type: 'spki', format: 'pem' })
  const made = createSecretKey(Buffer.from(pem))
  const token = await sign('HS256', { privateKey: made, publicKey: made })
  assert.equal(isSigned(token, 'HS256', made), true)
  assert.equal(isSigned(token, 'HS256', keys.rsa.publicKey), false)
})

test('an elliptic signature in DER is refused: it has many spellings', async () => {
  const { publicKey } = keys.p256
  const token = await sign('ES256', keys.p256)
  const numbers = signatureOf(token)
  const [r, s] = [numbers.subarray(0, 32), numbers.subarray(32)].map(integer)
  const body = Buffer.concat([r!, s!])
  const der = Buffer.concat([Buffer.from([0x30, body.length]), body])
  assert.equal(isSigned(signedBy(token, der), 'ES256', publicKey), false)
})

/** X.690, section 8.3: with a zero before it where it would be negative. */
function integer(bytes: Buffer): Buffer {
  const value = bytes[0]! >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes
  return Buffer.concat([Buffer.from([0x02, value.length]), value])
}

test('an algorithm that there is none of is a defect, not a signature', () => {
  assert.throws(() => isSigned('e30.e30.', 'none', keys.rsa.publicKey), TypeError)
})

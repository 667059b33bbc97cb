import { test } from 'node:test'
import { assertCanonical } from '../../src/authenticate/jwt.ts'
import { namedBy, opened, OURS } from './encrypted.ts'
import { readJson, skip } from './folder.ts'
import { Outcomes, type Deviations } from './outcomes.ts'
import { judged, published, type Jwk } from './signed.ts'

interface Input {
  readonly key?: Jwk | readonly Jwk[]
  readonly pwd?: string
}

interface Output {
  readonly compact?: string
  readonly json?: object
  readonly json_flat?: object
}

interface Example {
  readonly input: Input
  readonly output: Output
}

/** Each example is encrypted well; it is `valid` where it is accepted in any of its serializations. */
const DEVIATIONS: Deviations = {
  'RSA1_5 is offered by nobody: the library has dropped it': [
    'jwe/5_1.key_encryption_using_rsa_v15_and_aes-hmac-sha2',
  ],
  'compressed content is refused': ['jwe/5_9.compressed_content'],
  'not offered: JSON serializations': [
    'jwe/5_10.including_additional_authentication_data',
    'jwe/5_11.protecting_specific_header_fields',
    'jwe/5_12.protecting_content_only',
    'jwe/5_13.encrypting_to_multiple_recipients',
  ],
}

const ENCRYPTED = [
  'jwe/5_3.key_wrap_using_pbes2-aes-keywrap_with-aes-cbc-hmac-sha2',
  'jwe/5_2.key_encryption_using_rsa-oaep_with_aes-gcm',
  'jwe/5_4.key_agreement_with_key_wrapping_using_ecdh-es_and_aes-keywrap_with_aes-gcm',
  'jwe/5_5.key_agreement_using_ecdh-es_with_aes-cbc-hmac-sha2',
  'jwe/5_6.direct_encryption_using_aes-gcm',
  'jwe/5_7.key_wrap_using_aes-gcm_keywrap_with_aes-cbc-hmac-sha2',
  'jwe/5_8.key_wrap_using_aes-keywrap_with_aes-gcm',
  'curve25519/ecdh-es',
  ...Object.values(DEVIATIONS).flat().map(String),
]

test(
  'the JOSE cookbook: decryption ends as it should with the example’s own algorithms',
  { skip },
  async (t) => {
    const outcomes = new Outcomes(DEVIATIONS)
    for (const name of ENCRYPTED) {
      const { input, output } = read(name)
      const codes = []
      for (const token of tokensOf(output))
        codes.push(await opened(token, keyOf(input), namedBy(token)))
      // The first is the compact one, where there is one. No other serialization is ever accepted.
      const [compact, ...others] = codes
      const isOpened = compact === 'valid' && others.every((code) => code === 'invalid_token')
      outcomes.add(name, 'valid', isOpened ? 'valid' : 'invalid')
    }
    outcomes.tell(t, 14)
  },
)

test('the JOSE cookbook: nothing is decrypted by what we do not offer', { skip }, async (t) => {
  const outcomes = new Outcomes({})
  for (const name of ENCRYPTED) {
    const { input, output } = read(name)
    for (const token of tokensOf(output)) {
      outcomes.add(name, 'invalid_token', await opened(token, keyOf(input)))
    }
  }
  outcomes.tell(t, 37)
})

test(
  'the nested example of the JOSE cookbook opens by its own algorithms, to a token that is signed well',
  { skip },
  async (t) => {
    const nested = readJson<{ readonly sign: Example; readonly encrypt: Example }>(
      'jose-cookbook',
      '6.nesting_signatures_and_encryption.json',
    )
    const [token = ''] = tokensOf(nested.encrypt.output)
    const [signed = ''] = tokensOf(nested.sign.output)
    const outcomes = new Outcomes({})
    outcomes.add('own', 'valid', await opened(token, keyOf(nested.encrypt.input), namedBy(token)))
    outcomes.add('ours', 'invalid_token', await opened(token, keyOf(nested.encrypt.input)))
    const algorithm = { ...OURS, algorithms: namedBy(token).algorithms }
    outcomes.add(
      'its key, our encryptions',
      'valid',
      await opened(token, keyOf(nested.encrypt.input), algorithm),
    )
    assertCanonical(signed)
    outcomes.add(
      'signed',
      'valid',
      await judged(signed, [published(keyOf(nested.sign.input))], ['PS256']),
    )
    outcomes.tell(t, 4)
  },
)

function read(name: string): Example {
  return readJson<Example>('jose-cookbook', `${name}.json`)
}

function tokensOf({ compact, json, json_flat: flat }: Output): readonly string[] {
  return [compact, json, flat]
    .filter((one) => one !== undefined)
    .map((one) => (typeof one === 'string' ? one : JSON.stringify(one)))
}

/** The first of several; a password is the key of its own algorithm (RFC 7518, section 4.8). */
function keyOf({ key, pwd = '' }: Input): Jwk {
  const [first] = [key ?? []].flat()
  return first ?? { kty: 'oct', k: Buffer.from(pwd).toString('base64url') }
}

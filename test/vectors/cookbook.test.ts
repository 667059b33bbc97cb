import { test } from 'node:test'
import { createKeySet } from '../../src/authenticate/key-set.ts'
import { readJson, skip } from './folder.ts'
import { Outcomes, type Deviations } from './outcomes.ts'
import { judged, OFFERED, published, type Jwk } from './signed.ts'

interface Example {
  readonly input?: {
    readonly key?: Jwk | readonly Jwk[]
    readonly alg?: string | readonly string[]
  }
  readonly output?: {
    readonly compact?: string
    readonly json?: object
    readonly json_flat?: object
  }
}

/** Each example is signed well; it is `valid` where it is accepted in any of its serializations. */
const DEVIATIONS: Deviations = {
  'not offered: JSON serializations': [
    'jws/4_6.protecting_specific_header_fields',
    'jws/4_7.protecting_content_only',
    'jws/4_8.multiple_signatures',
  ],
  'not offered: detached payloads': ['jws/4_5.signature_with_detached_content'],
  'refused: unencoded payloads (RFC 7797)': [
    'rfc7797/4.2.hmac-sha2_b64_false',
    'rfc7797/hmac-sha2_b64_false',
  ],
}

const SIGNED = [
  'jws/4_1.rsa_v15_signature',
  'jws/4_2.rsa-pss_signature',
  'jws/4_3.ecdsa_signature',
  'jws/4_4.hmac-sha2_integrity_protection',
  'curve25519/jws',
  ...Object.values(DEVIATIONS).flat().map(String),
]

test(
  'the JOSE cookbook: signatures end as they should with their own algorithm',
  { skip },
  async (t) => {
    const outcomes = new Outcomes(DEVIATIONS)
    for (const name of SIGNED) {
      const { tokens, keys, algorithms } = read(name)
      const codes = []
      for (const token of tokens) codes.push(await judged(token, keys, algorithms))
      // The first is the compact one, where there is one. No other serialization is ever accepted.
      const [compact, ...others] = codes
      const isTaken = compact === 'valid' && others.every((code) => code === 'invalid_token')
      outcomes.add(name, 'valid', isTaken ? 'valid' : 'invalid')
    }
    outcomes.tell(t, 11)
  },
)

test(
  'the JOSE cookbook: no signature is accepted by another algorithm than is allowed',
  { skip },
  async (t) => {
    const outcomes = new Outcomes({})
    for (const name of SIGNED) {
      const { tokens, keys, algorithms } = read(name)
      const others = OFFERED.filter((offered) => !algorithms.includes(offered))
      for (const token of tokens) {
        outcomes.add(name, 'invalid_token', await judged(token, keys, others))
      }
    }
    outcomes.tell(t, 28)
  },
)

test(
  'the nested example of the JOSE cookbook: its signature is good, by its own algorithm alone',
  { skip },
  async (t) => {
    const { sign } = readJson<{ readonly sign: Example }>(
      'jose-cookbook',
      '6.nesting_signatures_and_encryption.json',
    )
    const { tokens, keys, algorithms } = partsOf(sign)
    const outcomes = new Outcomes({})
    outcomes.add('allowed', 'valid', await judged(tokens[0]!, keys, algorithms))
    const others = OFFERED.filter((offered) => !algorithms.includes(offered))
    outcomes.add('not allowed', 'invalid_token', await judged(tokens[0]!, keys, others))
    outcomes.tell(t, 2)
  },
)

interface Parts {
  readonly tokens: readonly string[]
  readonly keys: readonly Jwk[]
  readonly algorithms: readonly string[]
}

function read(name: string): Parts {
  return partsOf(readJson<Example>('jose-cookbook', `${name}.json`))
}

function partsOf({ input = {}, output = {} }: Example): Parts {
  const { compact, json, json_flat: flat } = output
  return {
    tokens: [compact, json, flat]
      .filter((one) => one !== undefined)
      .map((one) => (typeof one === 'string' ? one : JSON.stringify(one))),
    keys: [input.key ?? []].flat().map(published),
    algorithms: [input.alg ?? []].flat(),
  }
}

test('the keys of the JOSE cookbook: public ones verify, all others are refused', { skip }, (t) => {
  const outcomes = new Outcomes({})
  for (const [name, alg, expected] of [
    ['3_1.ec_public_key', 'ES512', 'usable'],
    ['3_2.ec_private_key', 'ES512', 'unusable'],
    ['3_3.rsa_public_key', 'RS256', 'usable'],
    ['3_4.rsa_private_key', 'RS256', 'unusable'],
    ['3_5.symmetric_key_mac_computation', 'HS256', 'not found'],
    ['3_6.symmetric_key_encryption', 'A256GCM', 'not found'],
  ] as const) {
    const jwk = readJson<Jwk>('jose-cookbook', 'jwk', `${name}.json`)
    const { keys, unusable } = createKeySet(JSON.stringify({ keys: [jwk] })).find({ alg })
    const other = unusable === undefined ? 'not found' : 'unusable'
    outcomes.add(name, expected, keys.length === 1 ? 'usable' : other)
  }
  outcomes.tell(t, 6)
})

import { test } from 'node:test'
import { namedBy, opened, OURS, type Accepted } from './encrypted.ts'
import { readJson, skip } from './folder.ts'
import { Outcomes, type Deviations } from './outcomes.ts'
import type { Jwk } from './signed.ts'

interface Vectors {
  readonly testGroups: readonly {
    readonly private?: Jwk
    readonly tests: readonly {
      readonly tcId: number
      readonly result: 'valid' | 'invalid'
      /** An object where it is in one of the JSON serializations. */
      readonly jwe?: string | object
    }[]
  }[]
}

interface Case {
  readonly tcId: number
  readonly token: string
  readonly key: Jwk
  readonly expected: string
}

/** Of cases whose own algorithms are allowed: that of the key, and the encryption that the token names. */
const DEVIATIONS: Readonly<Record<string, Deviations>> = {
  json_web_encryption_test: {
    'RSA1_5 is offered by nobody: the library has dropped it': [
      100, 101, 102, 103, 104, 105, 112, 128,
    ],
    'compressed content is refused': [135],
  },
}

for (const [name, count] of [
  ['json_web_encryption_test', 139],
  // And 49 that are signed.
  ['json_web_crypto_test', 34],
] as const) {
  test(
    `Wycheproof, ${name}: decryption ends as it should with the case's own algorithms`,
    { skip },
    async (t) => {
      const outcomes = new Outcomes(DEVIATIONS[name] ?? {})
      for (const { tcId, token, key, expected } of encrypted(name)) {
        const own = { algorithms: [algorithmOf(key)], encryptions: namedBy(token).encryptions }
        const code = await opened(token, key, own)
        outcomes.add(tcId, expected, code === 'valid' ? 'valid' : 'invalid')
      }
      outcomes.tell(t, count)
    },
  )

  test(`Wycheproof, ${name}: nothing is decrypted by what we do not offer`, { skip }, async (t) => {
    const outcomes = new Outcomes({})
    for (const { tcId, token, key, expected } of encrypted(name)) {
      const offered = isOurs(namedBy(token)) && isOurs({ ...OURS, algorithms: [algorithmOf(key)] })
      const code = await opened(token, key)
      outcomes.add(tcId, offered ? expected : 'invalid', code === 'valid' ? 'valid' : 'invalid')
    }
    outcomes.tell(t, count)
  })
}

/** A key for the encryption itself goes without another (RFC 7518, section 4.5). */
function algorithmOf({ alg }: Jwk): string {
  return alg === 'A128GCM' ? 'dir' : String(alg)
}

function isOurs({ algorithms, encryptions }: Accepted): boolean {
  return (
    algorithms.every((one) => OURS.algorithms.includes(one)) &&
    encryptions.every((one) => OURS.encryptions.includes(one))
  )
}

/** The cases of a file that are encrypted tokens. */
function encrypted(name: string): readonly Case[] {
  const { testGroups } = readJson<Vectors>('wycheproof', `${name}.json`)
  return testGroups.flatMap(({ private: key = {}, tests }) =>
    tests.flatMap(({ tcId, jwe, result: expected }) =>
      jwe === undefined
        ? []
        : [{ tcId, token: typeof jwe === 'string' ? jwe : JSON.stringify(jwe), key, expected }],
    ),
  )
}

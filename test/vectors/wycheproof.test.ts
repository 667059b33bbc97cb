import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readJson, skip } from './folder.ts'
import { Outcomes, type Deviations } from './outcomes.ts'
import { judged, OFFERED, published, type Jwk } from './signed.ts'

interface Vectors {
  readonly numberOfTests: number
  readonly testGroups: readonly Group[]
}

interface Group {
  readonly private?: Jwk
  readonly public?: Jwk
  readonly tests: readonly {
    readonly tcId: number
    readonly result: 'valid' | 'invalid'
    /** An object where it is in one of the JSON serializations. */
    readonly jws?: string | object
  }[]
}

interface Case {
  readonly tcId: number
  readonly token: string
  readonly keys: readonly Jwk[]
  readonly expected: string
  /** That of the key, or of the token where the key names none. */
  readonly algorithms: readonly string[]
}

/** Of cases whose own algorithm is allowed. */
const DEVIATIONS: Readonly<Record<string, Deviations>> = {
  json_web_signature_test: {
    'a key is for the one algorithm that it names, and ES521 is none': [346, 347, 350, 351],
    'what is not base64url is refused, not skipped': [372, 373],
    'byte for byte the same as case 357, which is valid': [367, 370],
  },
  json_web_key_test: {
    'a signing secret has no name, and each is tried': [4],
    'HS384 and HS512 are not offered, and nobody measures their secrets': [11, 12],
  },
}

for (const [name, count] of [
  ['json_web_signature_test', 401],
  ['json_web_key_test', 26],
  // And 34 that are encrypted.
  ['json_web_crypto_test', 49],
] as const) {
  test(
    `Wycheproof, ${name}: signatures end as they should with their own algorithm`,
    { skip },
    async (t) => {
      const cases = signed(name)
      const outcomes = new Outcomes(DEVIATIONS[name] ?? {})
      for (const { tcId, token, keys, expected, algorithms } of cases) {
        const code = await judged(token, keys, algorithms)
        outcomes.add(tcId, expected, code === 'valid' ? 'valid' : 'invalid')
      }
      outcomes.tell(t, count)
    },
  )

  test(
    `Wycheproof, ${name}: no signature is accepted by another algorithm than is allowed`,
    { skip },
    async (t) => {
      const outcomes = new Outcomes({})
      const cases = signed(name)
      for (const { tcId, token, keys, algorithms } of cases) {
        const others = OFFERED.filter(
          (offered) => !algorithmsOf(token, algorithms).includes(offered),
        )
        const code = await judged(token, keys, others)
        outcomes.add(tcId, 'invalid', code === 'valid' ? 'valid' : 'invalid')
      }
      outcomes.tell(t, count)
    },
  )
}

function algorithmsOf(token: string, algorithms: readonly string[]): readonly string[] {
  return [...algorithms, algorithmOf(token) ?? '']
}

/** The cases of a file that are signed tokens. */
function signed(name: string): readonly Case[] {
  const { testGroups } = readJson<Vectors>('wycheproof', `${name}.json`)
  return testGroups.flatMap((group) => {
    const given = group.public ?? group.private ?? assert.fail('a group without a key')
    const list = 'keys' in given ? (given['keys'] as readonly Jwk[]) : [given]
    const keys = list.map(published)
    return group.tests.flatMap(({ tcId, jws, result }) =>
      jws === undefined
        ? []
        : [caseOf(keys, typeof jws === 'string' ? jws : JSON.stringify(jws), { tcId, result })],
    )
  })
}

function caseOf(
  keys: readonly Jwk[],
  token: string,
  { tcId, result }: { readonly tcId: number; readonly result: string },
): Case {
  return { tcId, token, keys, expected: result, algorithms: algorithmsFor(keys, token) }
}

function algorithmsFor(keys: readonly Jwk[], token: string): readonly string[] {
  const named = keys.map(({ alg }) => alg).filter((alg) => typeof alg === 'string')
  return named.length > 0 ? named : [algorithmOf(token) ?? '']
}

function algorithmOf(token: string): string | undefined {
  try {
    const header = Buffer.from(token.split('.')[0]!, 'base64url').toString('utf8')
    const { alg } = JSON.parse(header) as { readonly alg?: string }
    return alg
  } catch {
    return undefined
  }
}

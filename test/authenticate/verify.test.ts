import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { test } from 'node:test'
import { exportSPKI, importJWK, UnsecuredJWT, type CryptoKey } from 'jose'
import { api, AUDIENCE, IDENTIFIER, issuer, SECRET } from '../support.ts'
import {
  ASYMMETRIC,
  claimsOf,
  gate,
  gateWithKeys,
  NOW,
  pair,
  serveDocuments,
  signed,
} from './issuer.ts'

const PAIRS = {
  RS256: pair('RS256'),
  RS512: pair('RS512'),
  PS256: pair('PS256'),
  ES256: pair('ES256'),
  EdDSA: pair('EdDSA'),
}
const PUBLIC_KEYS = Object.values(PAIRS).map(({ publicKey }) => publicKey)
const REFUSED = { code: 'invalid_token', status: 401 }

const hs256 = (claims: Record<string, unknown> | string, header: object = {}): Promise<string> =>
  signed(claims, { alg: 'HS256', typ: 'JWT', ...header }, SECRET)

for (const algorithm of ASYMMETRIC) {
  test(`a token signed with ${algorithm} is accepted where that is configured`, async (t) => {
    const { take, identifier } = await gateWithKeys(t, [algorithm], PUBLIC_KEYS)
    const header = { alg: algorithm, kid: algorithm, typ: 'at+jwt' }
    const token = await signed(claimsOf(identifier), header, PAIRS[algorithm].privateKey)
    const subject = await take(token)
    assert.equal(subject.subject, 'alice')
    assert.equal(subject.value, token)
    assert.equal(subject.issuer, identifier)
  })

  test(`a token signed with ${algorithm} is refused where all others are configured`, async (t) => {
    const others = ASYMMETRIC.filter((other) => other !== algorithm)
    const { take, identifier } = await gateWithKeys(t, others, PUBLIC_KEYS)
    const header = { alg: algorithm, kid: algorithm }
    const token = await signed(claimsOf(identifier), header, PAIRS[algorithm].privateKey)
    await assert.rejects(take(token), REFUSED)
  })
}

test('one key verifies only the algorithm that its "alg" member names', async (t) => {
  const { privateKey, publicKey } = PAIRS.RS256
  const bound = { ...publicKey, alg: 'RS256' }
  const { take, identifier } = await gateWithKeys(t, ['RS256', 'PS256'], [bound])
  const claims = claimsOf(identifier)
  const kid = publicKey.kid
  await take(await signed(claims, { alg: 'RS256', kid }, privateKey))
  await assert.rejects(take(await signed(claims, { alg: 'PS256', kid }, privateKey)), REFUSED)
})

test('a key for encryption verifies nothing', async (t) => {
  const { privateKey, publicKey } = PAIRS.RS256
  const { take, identifier } = await gateWithKeys(t, ['RS256'], [{ ...publicKey, use: 'enc' }])
  const token = await signed(claimsOf(identifier), { alg: 'RS256', kid: publicKey.kid }, privateKey)
  await assert.rejects(take(token), REFUSED)
})

test('a token signed with HS256 is accepted by the signing secret, as raw UTF-8', async (t) => {
  const secret = 'schlüssel, der wie kein base64 aussieht: äöü'
  const { take } = gate(t, { verification: { kind: 'secret', secrets: [secret] } })
  const token = await signed(claimsOf(IDENTIFIER), { alg: 'HS256' }, secret)
  assert.equal((await take(token)).subject, 'alice')
})

test('of two signing secrets, each is accepted, and a third is not', async (t) => {
  const secrets = ['the new secret, thirty-two bytes..', 'the old secret, thirty-two bytes..']
  const { take } = gate(t, { verification: { kind: 'secret', secrets } })
  const claims = claimsOf(IDENTIFIER)
  for (const secret of secrets) await take(await signed(claims, { alg: 'HS256' }, secret))
  const third = 'some other secret of many bytes...'
  await assert.rejects(take(await signed(claims, { alg: 'HS256' }, third)), REFUSED)
})

test('a public key is no HS256 secret, in whatever form it is published', async (t) => {
  const { publicKey, privateKey } = PAIRS.RS256
  const { take, identifier } = await gateWithKeys(t, ['RS256'], [publicKey])
  const pem = await exportSPKI((await importJWK(publicKey, 'RS256')) as CryptoKey)
  const der = createPublicKey(pem).export({ type: 'spki', format: 'der' }).toString('latin1')
  const forms = [pem, pem.trimEnd(), JSON.stringify(publicKey), publicKey.n!, der]
  for (const form of forms) {
    const forged = await signed(claimsOf(identifier), { alg: 'HS256', kid: 'RS256' }, form)
    await assert.rejects(take(forged), REFUSED)
  }
  await take(await signed(claimsOf(identifier), { alg: 'RS256', kid: 'RS256' }, privateKey))
})

test('an asymmetric token is refused at an API with a signing secret', async (t) => {
  const { take } = gate(t, {})
  for (const algorithm of ASYMMETRIC) {
    const token = await signed(
      claimsOf(IDENTIFIER),
      { alg: algorithm },
      PAIRS[algorithm].privateKey,
    )
    await assert.rejects(take(token), REFUSED)
  }
  await take(await hs256(claimsOf(IDENTIFIER)))
})

for (const alg of ['none', 'None', 'NONE', 'nOnE', '', 'hs256', 'HS384', 'HS512', 1, null]) {
  test(`alg ${JSON.stringify(alg)} is refused by secret and by key set`, async (t) => {
    const bySecret = gate(t, {})
    const byKeys = await gateWithKeys(t, ['RS256'], PUBLIC_KEYS)
    const header = Buffer.from(JSON.stringify({ alg })).toString('base64url')
    for (const signature of ['', 'AAAA', (await hs256(claimsOf(IDENTIFIER))).split('.')[2]!]) {
      const payload = Buffer.from(JSON.stringify(claimsOf(IDENTIFIER))).toString('base64url')
      await assert.rejects(bySecret.take(`${header}.${payload}.${signature}`), REFUSED)
      await assert.rejects(byKeys.take(`${header}.${payload}.${signature}`), REFUSED)
    }
  })
}

test('an unsecured JWT is refused', async (t) => {
  const { take } = gate(t, {})
  await assert.rejects(take(new UnsecuredJWT(claimsOf(IDENTIFIER)).encode()), REFUSED)
})

test('a key that the token brings along is not used', async (t) => {
  const own = pair('ES256', 'own')
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], PUBLIC_KEYS)
  issued.documents.set('/own', { keys: [own.publicKey] })
  const brought = [
    { jwk: own.publicKey },
    { jku: `${issued.origin}/own` },
    { jku: `${issued.origin}/own`, kid: 'own' },
    { jwk: own.publicKey, kid: 'ES256' },
    { x5u: `${issued.origin}/own` },
  ]
  for (const header of brought) {
    const token = await signed(claimsOf(identifier), { alg: 'ES256', ...header }, own.privateKey)
    await assert.rejects(take(token), REFUSED)
  }
  assert.ok(!issued.requests.includes('/own'))
})

test('critical headers that are not understood are refused', async (t) => {
  const { take } = gate(t, {})
  const craft = async (header: object): Promise<string> => {
    const [, payload, signature] = (await hs256(claimsOf(IDENTIFIER))).split('.')
    const encoded = Buffer.from(JSON.stringify({ alg: 'HS256', ...header })).toString('base64url')
    return `${encoded}.${payload}.${signature}`
  }
  for (const header of [
    { crit: ['x'], x: 1 },
    { crit: [] },
    { crit: 'x' },
    { b64: false, crit: ['b64'] },
  ]) {
    await assert.rejects(take(await craft(header)), REFUSED)
  }
})

test('one changed bit in any part is refused', async (t) => {
  const { take } = gate(t, {})
  const token = await hs256(claimsOf(IDENTIFIER))
  const parts = token.split('.')
  for (const [index, part] of parts.entries()) {
    const bytes = Buffer.from(part, 'base64url')
    bytes[bytes.length >> 1]! ^= 1
    const changed = parts.with(index, bytes.toString('base64url')).join('.')
    await assert.rejects(take(changed), REFUSED)
  }
  await take(token)
})

const FOREIGN_ISSUERS = [
  IDENTIFIER.slice(0, -1),
  `${IDENTIFIER}/`,
  IDENTIFIER.toUpperCase(),
  `${IDENTIFIER} `,
  'https://other.example/',
  '',
  null,
  undefined,
  1,
  [IDENTIFIER],
  { toString: IDENTIFIER },
]
for (const iss of FOREIGN_ISSUERS) {
  test(`iss ${JSON.stringify(iss)} is not ${IDENTIFIER}`, async (t) => {
    const { take } = gate(t, {})
    await assert.rejects(take(await hs256({ ...claimsOf(IDENTIFIER), iss })), REFUSED)
  })
}

test('each identifier of an issuer has its own keys', async (t) => {
  const issued = await serveDocuments(t)
  const own = new Map<string, ReturnType<typeof pair>>()
  for (const name of ['one', 'two']) {
    const identifier = `${issued.origin}/${name}/`
    const keys = pair('ES256', 'same')
    own.set(identifier, keys)
    issued.documents.set(`/${name}/.well-known/openid-configuration`, {
      issuer: identifier,
      jwks_uri: `${issued.origin}/${name}/jwks`,
      token_endpoint: `${issued.origin}/${name}/token`,
    })
    issued.documents.set(`/${name}/jwks`, { keys: [keys.publicKey] })
  }
  const { take } = gate(t, {
    issuer: issuer({ identifiers: [...own.keys()] }),
    verification: { kind: 'jwks', algorithms: ['ES256'] },
  })
  const header = { alg: 'ES256', kid: 'same' }
  for (const [identifier] of own) {
    for (const [signer, { privateKey }] of own) {
      const token = await signed(claimsOf(identifier), header, privateKey)
      if (signer === identifier) assert.equal((await take(token)).issuer, identifier)
      else await assert.rejects(take(token), REFUSED)
    }
  }
})

for (const aud of [AUDIENCE, [AUDIENCE], ['https://other.example', AUDIENCE]]) {
  test(`aud ${JSON.stringify(aud)} is for this API`, async (t) => {
    await gate(t, {}).take(await hs256({ ...claimsOf(IDENTIFIER), aud }))
  })
}

for (const aud of [
  undefined,
  null,
  '',
  [],
  [[AUDIENCE]],
  `${AUDIENCE}/`,
  AUDIENCE.toUpperCase(),
  `${AUDIENCE} https://other.example`,
  { [AUDIENCE]: true },
  ['https://other.example'],
]) {
  test(`aud ${JSON.stringify(aud)} is not for this API`, async (t) => {
    await assert.rejects(gate(t, {}).take(await hs256({ ...claimsOf(IDENTIFIER), aud })), REFUSED)
  })
}

const SECONDS = NOW / 1_000
for (const [claims, expected] of [
  [{ exp: SECONDS + 1 }, true],
  [{ exp: SECONDS }, true],
  [{ exp: SECONDS - 4 }, true],
  [{ exp: SECONDS - 5 }, false],
  [{ exp: SECONDS - 3_600 }, false],
  [{ exp: 0 }, false],
  [{ exp: -1 }, false],
  [{ nbf: SECONDS + 5 }, true],
  [{ nbf: SECONDS + 6 }, false],
  [{ nbf: 0 }, true],
  [{ iat: SECONDS + 5 }, true],
  [{ iat: SECONDS + 6 }, false],
  [{ iat: undefined }, true],
  [{ nbf: undefined }, true],
] as const) {
  const text = JSON.stringify(claims, (_, value: unknown) => value ?? 'absent')
  test(`at ${SECONDS} with a tolerance of 5 s, ${text} is ${expected ? 'good' : 'refused'}`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const { take } = gate(t, { clockToleranceMs: 5_000 })
    const outcome = take(await hs256({ ...claimsOf(IDENTIFIER), ...claims }))
    await (expected ? outcome : assert.rejects(outcome, REFUSED))
  })
}

test('without tolerance a token ends at its exp and begins at its nbf', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take } = gate(t, { clockToleranceMs: 0 })
  const claims = claimsOf(IDENTIFIER)
  await take(await hs256({ ...claims, exp: SECONDS + 1, nbf: SECONDS, iat: SECONDS }))
  for (const wrong of [{ exp: SECONDS }, { nbf: SECONDS + 1 }, { iat: SECONDS + 1 }]) {
    await assert.rejects(take(await hs256({ ...claims, ...wrong })), REFUSED)
  }
})

const WRONG_TYPES: Record<string, readonly unknown[]> = {
  exp: [undefined, null, '4102444800', [4102444800], true, {}],
  sub: [undefined, null, '', 1, ['alice'], {}, true],
  nbf: [null, '0', [], true],
  iat: [null, '0', [], true],
  scope: [null, 1, ['read:orders'], {}, true],
  scp: [null, 1, [1], ['read:orders', null], {}, true],
  permissions: [null, 'read:orders', [1], [['read:orders']], {}, true],
}
for (const [claim, values] of Object.entries(WRONG_TYPES)) {
  for (const value of values) {
    test(`${claim} ${JSON.stringify(value)} is refused`, async (t) => {
      const claims = { ...claimsOf(IDENTIFIER), [claim]: value }
      await assert.rejects(gate(t, {}).take(await hs256(claims)), REFUSED)
    })
  }
}

for (const payload of ['[]', 'null', '1', '"x"', '', '{', '{"iss":', '\u{feff}{}']) {
  test(`a payload of ${JSON.stringify(payload)} is refused`, async (t) => {
    await assert.rejects(gate(t, {}).take(await hs256(payload)), REFUSED)
  })
}

for (const [levels, accepted] of [
  [31, true],
  [32, false],
  [2_000, false],
] as const) {
  test(`claims that hold ${levels} lists in each other are ${accepted ? 'accepted' : 'refused'}`, async (t) => {
    const claims = JSON.stringify(claimsOf(IDENTIFIER)).slice(0, -1)
    const deep = `${claims},"deep":${'['.repeat(levels)}${']'.repeat(levels)}}`
    const outcome = gate(t, {}).take(await hs256(deep))
    if (accepted) assert.equal((await outcome).subject, 'alice')
    else await assert.rejects(outcome, REFUSED)
  })
}

for (const [what, change, accepted] of [
  ['an expiry that is infinite', ['"exp":', '"exp":1e999,"x":'], false],
  ['an expiry that is far away', ['"exp":', '"exp":1e15,"x":'], true],
  ['a time of issue before all times', ['"iat":', '"iat":-1e999,"x":'], false],
  ['a time of issue long ago', ['"iat":', '"iat":-1e15,"x":'], true],
  ['an audience beside a number', [`"aud":"${AUDIENCE}"`, `"aud":["${AUDIENCE}",1]`], false],
  ['an audience beside another', [`"aud":"${AUDIENCE}"`, `"aud":["${AUDIENCE}","1"]`], true],
  ['two subjects', ['"sub":', '"sub":"mallory","sub":'], false],
  ['two names', ['"sub":', '"name":"mallory","sub":'], true],
  ['a byte order mark', [/^/, '\ufeff'], false],
  ['a space first', [/^/, ' '], true],
  ['half a character', ['"sub":', '"x":"\\ud800","sub":'], false],
  ['a whole character', ['"sub":', '"x":"\\ud83d\\ude00","sub":'], true],
] as const) {
  test(`claims with ${what} are ${accepted ? 'accepted' : 'refused'}`, async (t) => {
    const text = JSON.stringify(claimsOf(IDENTIFIER)).replace(change[0], change[1])
    const outcome = gate(t, {}).take(await hs256(text))
    if (accepted) assert.equal((await outcome).subject, 'alice')
    else await assert.rejects(outcome, REFUSED)
  })
}

test('a member named __proto__ gives a token no claims', async (t) => {
  const { sub: _, ...claims } = claimsOf(IDENTIFIER)
  const text = `${JSON.stringify(claims).slice(0, -1)},"__proto__":{"sub":"mallory"}}`
  await assert.rejects(gate(t, {}).take(await hs256(text)), REFUSED)
})

for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt']) {
  test(`typ ${typ ?? 'absent'} is an access token's`, async (t) => {
    await gate(t, {}).take(await hs256(claimsOf(IDENTIFIER), { typ }))
  })
}

for (const typ of [
  'logout+jwt',
  'dpop+jwt',
  'id_token',
  'ID',
  'secevent+jwt',
  'token-introspection+jwt',
  'application/logout+jwt',
  'at+jwt ',
  'x/at+jwt',
  'JWTS',
  '',
  null,
  1,
  ['JWT'],
]) {
  test(`typ ${JSON.stringify(typ)} is another kind of token's`, async (t) => {
    await assert.rejects(gate(t, {}).take(await hs256(claimsOf(IDENTIFIER), { typ })), REFUSED)
  })
}

for (const cnf of [{ jkt: 'x' }, { 'x5t#S256': 'x' }, { jwk: {} }, {}, null, false]) {
  test(`cnf ${JSON.stringify(cnf)} is refused without its proof`, async (t) => {
    await assert.rejects(gate(t, {}).take(await hs256({ ...claimsOf(IDENTIFIER), cnf })), REFUSED)
  })
}

for (const [claims, scopes] of [
  [{}, []],
  [{ scope: '' }, []],
  [{ scope: 'a' }, ['a']],
  [{ scope: 'a b:c b:c' }, ['a', 'b:c']],
  [{ scp: ['a', 'b'] }, ['a', 'b']],
  [{ scp: 'a b' }, ['a', 'b']],
  [{ scp: [] }, []],
  [{ scope: 'a', scp: ['b'] }, ['a', 'b']],
  [{ permissions: ['p'] }, []],
] as const) {
  test(`${JSON.stringify(claims)} gives the scopes ${JSON.stringify(scopes)}`, async (t) => {
    const subject = await gate(t, {}).take(await hs256({ ...claimsOf(IDENTIFIER), ...claims }))
    assert.deepEqual([...subject.scopes], scopes)
  })
}

test('permissions are kept apart from scopes', async (t) => {
  const claims = { ...claimsOf(IDENTIFIER), scope: 'a', permissions: ['p', 'q r'] }
  const subject = await gate(t, {}).take(await hs256(claims))
  assert.deepEqual([...subject.permissions], ['p', 'q r'])
  assert.deepEqual([...subject.scopes], ['a'])
})

for (const scope of [' a', 'a ', 'a  b', 'a\tb', 'a\nb', 'a\u00a0b', 'a "b"', 'a\\b', 'ä', ' ']) {
  test(`the scope claim ${JSON.stringify(scope)} is refused`, async (t) => {
    await assert.rejects(gate(t, {}).take(await hs256({ ...claimsOf(IDENTIFIER), scope })), REFUSED)
  })
}

test('what a refusal tells the caller holds nothing of the token', async (t) => {
  const { take } = gate(t, {})
  const token = await hs256({ ...claimsOf(IDENTIFIER), sub: 'canary', aud: 'canary' })
  await assert.rejects(take(token), (error: Error) => !error.message.includes('canary'))
})

test('an API is the only judge of its own tokens', async (t) => {
  const other = api({ name: 'other', audience: 'https://other.example' })
  const { take } = gate(t, { name: other.name, audience: other.audience })
  await assert.rejects(take(await hs256(claimsOf(IDENTIFIER))), REFUSED)
})

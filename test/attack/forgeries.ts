/** Every way to cheat with a token that we know of, each with a twin that is as it should be. */
import type { ErrorCode } from '../../src/errors.ts'
import {
  bySecret,
  compact,
  encoded,
  unsigned,
  type Members,
  type Sign,
  type Signer,
} from './forge.ts'

export interface Forgery {
  readonly family: string
  readonly what: string
  readonly token: string
  readonly code: ErrorCode
  /** Accepted, and different in one thing. */
  readonly twin: string
}

/** Where the tokens are for. */
export interface Target {
  readonly signer: Signer
  /** A new set of good claims. */
  readonly claims: () => Members
  /** An address that nobody may ask. */
  readonly trap: string
}

type Family = (target: Target) => Iterable<Omit<Forgery, 'family' | 'code'> & { code?: ErrorCode }>

export function* forgeries(target: Target): Generator<Forgery> {
  for (const [family, forge] of Object.entries(FAMILIES)) {
    for (const forgery of forge(target)) yield { family, code: 'invalid_token', ...forgery }
  }
}

const ALGORITHMS = [
  ...[
    'none',
    'None',
    'NONE',
    'nOnE',
    '',
    ' ',
    'null',
    'HS256',
    'HS384',
    'HS512',
    'hs256',
    'HS256 ',
  ],
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES256K', 'ES384', 'ES512'],
  ...['EdDSA', 'Ed25519', 'ML-DSA-44', 'rs256', 'RS256\0', 'RSA-OAEP', 'dir', 'A128KW', 'toString'],
  ...['__proto__', 'constructor'],
  ...[null, 0, 1, true, [], ['RS256'], ['HS256'], {}, { alg: 'HS256' }],
]

const FAMILIES: Readonly<Record<string, Family>> = {
  /** Who signed is decided by the configuration, whatever the header says. */
  *'algorithm confusion'({ signer, claims }) {
    const payload = claims()
    const { header, sign, published } = signer
    const twin = compact(header, payload, sign)
    const signs: readonly (readonly [string, Sign])[] = [
      ['no signature', unsigned],
      ['the right signature', () => Buffer.from(twin.split('.')[2]!, 'base64url')],
      ['one zero', () => Buffer.alloc(1)],
      ['zeros', () => Buffer.alloc(64)],
      ...published.map((form, index) => [`published form ${index}`, bySecret(form)] as const),
      ...published.map(
        (form, index) => [`form ${index}, SHA-512`, bySecret(form, 'sha512')] as const,
      ),
    ]
    for (const alg of [...ALGORITHMS, undefined]) {
      for (const [how, signIt] of signs) {
        if (alg === header.alg && how === 'the right signature') continue
        const token = compact({ ...header, alg }, payload, signIt)
        yield { what: `${JSON.stringify(alg)} with ${how}`, token, twin }
      }
    }
  },

  /** What the token says of keys is nobody's business: with the right signature it does no harm. */
  *'keys of its own'({ signer, claims, trap }) {
    const jwk = signer.strangersJwk ?? {
      kty: 'oct',
      k: encoded('a secret of thirty-two bytes or so'),
    }
    const chain = ['MIIBtjCCAVugAwIBAgITBmyf1XSXNmY', 'MIIB']
    for (const extra of [
      { jwk },
      { jwk: { ...jwk, use: 'sig', alg: signer.header.alg } },
      { jku: trap },
      { jku: `${trap}#https://issuer.example` },
      { jku: [trap] },
      { x5u: trap },
      { x5c: chain },
      { x5t: 'AAAA', 'x5t#S256': 'AAAA' },
      { jku: trap, jwk, x5u: trap, x5c: chain },
      { iss: trap },
      { epk: jwk },
    ]) {
      const payload = claims()
      const header = { ...signer.header, ...extra }
      const twin = compact(header, payload, signer.sign)
      yield {
        what: JSON.stringify(Object.keys(extra)),
        token: compact(header, payload, signer.forge),
        twin,
      }
    }
  },

  *'names of keys'({ signer, claims, trap }) {
    const { header, sign, forge } = signer
    const payload = claims()
    const twin = compact(header, payload, sign)
    for (const kid of [
      ...[
        '',
        ' ',
        '../../../../dev/null',
        '/dev/null',
        `${trap}`,
        "' OR 1=1 --",
        '\0',
        '*',
        '__proto__',
      ],
      ...[
        'constructor',
        'undefined',
        'null',
        'x'.repeat(2_000),
        'unknown',
        '0',
        '$(id)',
        '| id',
        '{}',
      ],
    ]) {
      for (const [who, by] of Object.entries({
        nobody: unsigned,
        stranger: forge,
        empty: bySecret(''),
      })) {
        yield {
          what: `${JSON.stringify(kid).slice(0, 40)} by ${who}`,
          token: compact({ ...header, kid }, payload, by),
          twin,
        }
      }
    }
    for (const kid of [null, 0, 1, true, [], ['a'], {}]) {
      yield { what: JSON.stringify(kid), token: compact({ ...header, kid }, payload, sign), twin }
    }
  },

  *'other headers'({ signer, claims }) {
    const { header, sign } = signer
    const payload = claims()
    const twin = compact({ ...header, typ: 'at+jwt' }, payload, sign)
    for (const extra of [
      ...['logout+jwt', 'id_token', 'dpop+jwt', 'JWE', 'secevent+jwt', 'at+jwt ', '', 'a/b'].map(
        (typ) => ({ typ }),
      ),
      ...[null, 1, ['at+jwt'], {}].map((typ) => ({ typ })),
      { crit: ['exp'], exp: 1 },
      { crit: ['alg'] },
      { crit: [] },
      { crit: 'exp' },
      { crit: null },
      { b64: false },
      { b64: false, crit: ['b64'] },
      { b64: true, crit: ['b64'] },
    ]) {
      yield {
        what: JSON.stringify(extra),
        token: compact({ ...header, ...extra }, payload, sign),
        twin,
      }
    }
  },

  *'types of claims'({ signer, claims }) {
    const good = claims()
    const twin = compact(signer.header, good, signer.sign)
    for (const [name, values] of Object.entries(wrongValues(good))) {
      for (const value of values) {
        const token = compact(signer.header, { ...good, [name]: value }, signer.sign)
        yield { what: `${name} ${String(JSON.stringify(value)).slice(0, 50)}`, token, twin }
      }
    }
  },

  /** JSON that some read in one way, and some in another. */
  *'ambiguous JSON'({ signer, claims }) {
    const { header, sign } = signer
    const good = claims()
    const twin = compact(header, good, sign)
    for (const [what, text] of ambiguous(JSON.stringify(good), Object.keys(good))) {
      yield { what: `claims: ${what}`, token: compact(header, text, sign), twin }
    }
    for (const [what, text] of ambiguous(JSON.stringify(header), Object.keys(header))) {
      yield { what: `header: ${what}`, token: compact(text, good, sign), twin }
    }
  },

  *nesting({ signer, claims }) {
    const { header, sign, forge } = signer
    const twin = compact(header, claims(), sign)
    const [first, second, third] = twin.split('.') as [string, string, string]
    for (const [what, payload] of Object.entries({
      'a token': twin,
      'a token as a JSON string': JSON.stringify(twin),
      'a list of tokens': JSON.stringify([twin]),
      'a token as a member': JSON.stringify({ jwt: twin }),
      'an unsecured token': `${encoded({ alg: 'none' })}.${second}.`,
      'an encrypted token': `${first}.${second}.${third}.${third}.${third}`,
    })) {
      for (const cty of [undefined, 'JWT', 'json']) {
        yield {
          what: `${what}, cty ${cty}`,
          token: compact({ ...header, cty }, payload, sign),
          twin,
        }
        yield {
          what: `${what}, forged, cty ${cty}`,
          token: compact({ ...header, cty }, payload, forge),
          twin,
        }
      }
    }
    for (const segments of [1, 2, 4, 5, 6, 7, 50]) {
      const parts = Array.from(
        { length: segments },
        (_, index) => [first, second, third][index % 3],
      )
      yield { what: `${segments} segments`, token: parts.join('.'), twin }
    }
    for (const [what, token] of Object.entries({
      'the flattened serialization': JSON.stringify({
        protected: first,
        payload: second,
        signature: third,
      }),
      'the same in base64url': encoded({ protected: first, payload: second, signature: third }),
      'no header': `.${second}.${third}`,
      'no payload': `${first}..${third}`,
      'no signature': `${first}.${second}.`,
      'only dots': '..',
      'parts in another order': `${second}.${first}.${third}`,
      'the signature as payload': `${first}.${third}.${third}`,
    })) {
      // A comma separates credentials.
      yield { what, token, twin, code: token.includes(',') ? 'invalid_request' : 'invalid_token' }
    }
  },

  *'changed bytes'({ signer, claims }) {
    const twin = compact(signer.header, claims(), signer.sign)
    for (let at = 0; at < twin.length; at += 3) {
      if (twin[at] === '.') continue
      const other = twin[at] === 'A' ? 'B' : 'A'
      yield { what: `character ${at}`, token: twin.slice(0, at) + other + twin.slice(at + 1), twin }
    }
    for (let length = 1; length < twin.length; length += 7) {
      yield { what: `the first ${length}`, token: twin.slice(0, length), twin }
      yield { what: `without the first ${length}`, token: twin.slice(length), twin }
    }
    for (const more of ['A', '.', '.A', `.${twin}`, twin]) {
      yield { what: `followed by ${more.slice(0, 8)}`, token: twin + more, twin }
    }
  },

  *'mixed parts'({ signer, claims }) {
    const twin = compact(signer.header, claims(), signer.sign)
    const other = compact(
      { ...signer.header, typ: 'JWT' },
      { ...claims(), sub: 'mallory' },
      signer.sign,
    )
    for (let mask = 1; mask < 7; mask++) {
      const parts = twin
        .split('.')
        .map((part, index) => (mask & (1 << index) ? other.split('.')[index] : part))
      yield { what: `mask ${mask}`, token: parts.join('.'), twin }
    }
  },
}

/** For each claim, what it must not be. */
function wrongValues({ iss, aud, exp }: Members): Readonly<Record<string, readonly unknown[]>> {
  const [issuer, audience] = [String(iss), String(aud)]
  const soon = Number(exp)
  const odd = [null, true, false, {}, []]
  return {
    iss: [
      ...odd,
      undefined,
      0,
      '',
      [issuer],
      `${issuer}/`,
      issuer.slice(0, -1),
      issuer.toUpperCase(),
      ` ${issuer}`,
      'https://other.example/',
      `${issuer}\0`,
    ],
    aud: [
      ...odd,
      undefined,
      0,
      '',
      [[audience]],
      { [audience]: true },
      `${audience}/`,
      audience.toUpperCase(),
      ['https://other.example'],
      `${audience} x`,
      [audience, 1],
      [audience, null],
      '*',
    ],
    sub: [...odd, undefined, 0, '', ['user|alice'], { sub: 'user|alice' }],
    exp: [
      ...odd,
      undefined,
      '',
      String(soon),
      [soon],
      { exp: soon },
      0,
      -1,
      1,
      soon - 90_000,
      -soon,
      -1e300,
    ],
    nbf: [...odd, '', '0', [0], soon + 90_000, soon * 1_000, 1e300],
    iat: [...odd, '', '0', [0], soon + 90_000, soon * 1_000, 1e300],
    scope: [
      ...odd,
      0,
      ['read:orders'],
      ' read:orders',
      'read:orders ',
      'read:orders  more',
      'read:orders\tmore',
      'read:orders\nmore',
      'read:orders,"',
      'read:orders \u00e4',
    ],
    scp: [null, true, {}, 0, [0], ['a', null], [['a']], ' a', 'a  b', 'a\tb'],
    permissions: [null, true, {}, 0, 'a', [0], ['a', null], [['a']]],
    cnf: [
      { jkt: 'AAAA' },
      { 'x5t#S256': 'AAAA' },
      { jwk: {} },
      { kid: 'a' },
      { jku: 'https://other.example' },
    ],
    act: [null, true, 0, 'a', [], [{ sub: 'a' }], { sub: 'a', act: 1 }],
  }
}

function* ambiguous(
  text: string,
  names: readonly string[],
): Generator<readonly [string, string | Buffer]> {
  const inner = text.slice(1, -1)
  for (const name of names) {
    const escaped = `\\u00${name.charCodeAt(0).toString(16)}${name.slice(1)}`
    for (const [how, spelled] of Object.entries({ plain: name, escaped })) {
      for (const value of ['"mallory"', 'null', '1e9', '{}']) {
        yield [`${name} twice, ${how}, ${value} first`, `{"${spelled}":${value},${inner}}`]
        yield [`${name} twice, ${how}, ${value} last`, `{${inner},"${spelled}":${value}}`]
      }
    }
  }
  for (const [what, more] of Object.entries({
    'a name twice deeper down': '"x":[{"a":1,"a":2}]',
    'an empty name twice': '"":1,"":2',
    '__proto__ twice': '"__proto__":{},"__proto__":{}',
    'half a character': '"x":"\\ud800"',
    'half a character in a name': '"\\udfff":1',
    'the halves in the wrong order': '"x":"\\ude00\\ud83d"',
    'lists in lists': `"x":${'['.repeat(33)}${']'.repeat(33)}`,
    'objects in objects': `"x":${'{"x":'.repeat(500)}1${'}'.repeat(500)}`,
    'not a number': '"x":NaN',
    'an infinity': '"x":Infinity',
    'a hexadecimal': '"x":0x1',
    'a leading zero': '"x":01',
    'a plus': '"x":+1',
    'a comment': '"x":1/**/',
    'a line comment': '"x":1//\n',
    'single quotes': "'x':1",
    'no quotes': 'x:1',
    'a line end in a string': '"x":"\n"',
    'a NUL in a string': '"x":"\0"',
    'a comma at the end': '"x":1,',
  })) {
    yield [what, `{${inner},${more}}`]
  }
  yield ['a byte order mark', `\ufeff${text}`]
  yield ['something after it', `${text}{}`]
  yield ['a NUL after it', `${text}\0`]
  yield ['a list around it', `[${text}]`]
  yield ['a string of it', JSON.stringify(text)]
  yield ['UTF-16', Buffer.from(text, 'utf16le')]
  yield [
    'no UTF-8',
    Buffer.concat([Buffer.from(`{${inner},"x":"`), Buffer.from([0xff]), Buffer.from('"}')]),
  ]
  yield [
    'overlong UTF-8',
    Buffer.concat([Buffer.from(`{${inner},"x":"`), Buffer.from([0xc0, 0x80]), Buffer.from('"}')]),
  ]
  yield [
    'UTF-8 that ends early',
    Buffer.concat([Buffer.from(`{${inner},"x":"`), Buffer.from([0xe2, 0x82]), Buffer.from('"}')]),
  ]
  for (const [what, other] of Object.entries({
    nothing: '',
    null: 'null',
    zero: '0',
    list: '[]',
    'an object': '{}',
  })) {
    yield [what, other]
  }
}

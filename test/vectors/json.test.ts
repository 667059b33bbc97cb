import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { createRead } from '../../src/authenticate/introspected.ts'
import { createKeys } from '../../src/authenticate/keys.ts'
import { createMetadata } from '../../src/authenticate/metadata.ts'
import { GatewayError, type ErrorCode } from '../../src/errors.ts'
import { claimsOf, gate, outboundOf, pair } from '../authenticate/issuer.ts'
import { endpointAt, exchange, GOOD } from '../exchange/loopback-issuer.ts'
import { IDENTIFIER, issuer, listen, SECRET } from '../support.ts'
import { readVectors, skip, vectorsIn } from './folder.ts'

/** Each file holds one value, or what is none. */
interface File {
  readonly name: string
  readonly bytes: Buffer
}

type Expectation = 'accepted' | 'refused' | 'either'

/** `y_` must be read and `n_` must not; the others are up to the reader, which is us for some of them. */
function expectationOf({ name }: File, { readsTokens }: Place): Expectation {
  // Such as y_object_duplicated_key, which is where we deviate from what the files' names say.
  if (/_duplicated_key|object_same_key_/.test(name)) return 'refused'
  if (name.startsWith('y_')) return 'accepted'
  if (name.startsWith('n_')) return 'refused'
  if (/^i_structure_500|_escaped_invalid_|lone_(?:2nd|second)|invalid_lonely/.test(name)) {
    return 'refused'
  }
  if (!name.startsWith('i_string') && !/_invalid_codepoint/.test(name)) {
    return name.includes('BOM') ? 'either' : 'accepted'
  }
  return readsTokens ? 'refused' : 'either'
}

/** Reads what stands in a place where a stranger writes. Rejects with a defect only. */
type Read = (text: Buffer) => Promise<boolean>

interface Place {
  readonly what: string
  /** What everything refused there is refused with. */
  readonly codes: readonly ErrorCode[]
  /** Whether bytes that are no UTF-8 are refused there, and not replaced. */
  readonly readsTokens: boolean
  /** What stands before and after the file's bytes, so that all of it is as it should be if they are. */
  readonly frame: readonly [before: string, after: string]
  readonly reader: (t: TestContext) => Promise<(text: Buffer) => Promise<unknown>>
}

const HEADER = '{"alg":"HS256"'
const KEY = pair('ES256').publicKey

const PLACES: readonly Place[] = [
  {
    what: 'the claims of a token',
    codes: ['invalid_token'],
    frame: [`${JSON.stringify(claimsOf(IDENTIFIER)).slice(0, -1)},"file":`, '}'],
    readsTokens: true,
    async reader(t) {
      const { take } = gate(t, {})
      return (text) => take(token(Buffer.from(`${HEADER}}`), text))
    },
  },
  {
    what: 'the header of a token',
    codes: ['invalid_token'],
    frame: [`${HEADER},"file":`, '}'],
    readsTokens: true,
    async reader(t) {
      const { take } = gate(t, {})
      const claims = Buffer.from(JSON.stringify(claimsOf(IDENTIFIER)))
      return (text) => take(token(text, claims))
    },
  },
  {
    what: 'a key set',
    codes: ['keys_unavailable'],
    frame: [`{"keys":[${JSON.stringify(KEY)}],"file":`, '}'],
    readsTokens: false,
    async reader(t) {
      const { url, answer } = await answering(t)
      const outbound = outboundOf(t)
      const metadata = (): string => url
      return async (text) => {
        answer(text)
        const keys = createKeys(IDENTIFIER, { metadata, outbound, staleForMs: 0 })
        assert.equal((await keys.current()).find({ alg: 'ES256' }).keys.length, 1)
      }
    },
  },
  {
    what: 'the metadata of an issuer',
    codes: ['keys_unavailable'],
    frame: ['', ''],
    readsTokens: false,
    async reader(t) {
      const { url, answer } = await answering(t)
      const identifier = new URL(url).origin
      const outbound = outboundOf(t)
      return async (text) => {
        const written = { issuer: identifier, jwks_uri: url, token_endpoint: url }
        answer(
          Buffer.concat([
            Buffer.from(`${JSON.stringify(written).slice(0, -1)},"file":`),
            text,
            Buffer.from('}'),
          ]),
        )
        const metadata = createMetadata(issuer({ identifiers: [identifier] }), outbound)
        assert.equal(await metadata(identifier, 'jwksUri'), url)
      }
    },
  },
  {
    what: 'what an issuer says of a token',
    codes: ['exchange_unavailable'],
    frame: ['{"active":true,"file":', '}'],
    readsTokens: false,
    async reader() {
      const read = createRead({
        identifier: IDENTIFIER,
        recipients: [],
        keys: () => assert.fail('no answer is signed'),
        algorithms: [],
        clockToleranceMs: 0,
      })
      return (text) => read({ mediaType: 'application/json', text: text.toString('utf8') })
    },
  },
  {
    what: 'the answer of a token endpoint',
    codes: ['exchange_unavailable'],
    frame: [`${JSON.stringify(GOOD).slice(0, -1)},"file":`, '}'],
    readsTokens: false,
    async reader(t) {
      let body: Buffer = Buffer.alloc(0)
      const { endpoint } = await endpointAt(t, (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' }).end(body)
      })
      return (text) => {
        body = text
        return exchange(endpoint)
      }
    },
  },
  {
    what: 'the refusal of a token endpoint',
    codes: ['exchange_misconfigured'],
    frame: ['{"error":"invalid_target","file":', '}'],
    readsTokens: false,
    async reader(t) {
      let body: Buffer = Buffer.alloc(0)
      const { endpoint } = await endpointAt(t, (_, response) => {
        response.writeHead(400, { 'content-type': 'application/json' }).end(body)
      })
      return (text) => {
        body = text
        return exchange(endpoint).catch((error: unknown) => {
          // Read, and understood.
          if (!(error instanceof GatewayError && error.code === 'exchange_denied')) throw error
        })
      }
    },
  },
]

for (const place of PLACES) {
  test(
    `JSON in ${place.what} is read or refused as it should be, and is never a defect`,
    { skip },
    async (t) => {
      const read = refusable(await place.reader(t), place)
      const [before, after] = place.frame.map((text) => Buffer.from(text)) as [Buffer, Buffer]
      const counts = new Map<string, number>()
      const wrong: string[] = []
      assert.equal(await read(Buffer.concat([before, Buffer.from('1'), after])), true)
      for (const file of files()) {
        const isRead = await read(Buffer.concat([before, file.bytes, after]))
        const outcome = isRead ? 'accepted' : 'refused'
        const expected = expectationOf(file, place)
        if (expected !== 'either' && expected !== outcome) wrong.push(`${file.name}: ${outcome}`)
        const what = `${outcome}, ${expected === 'either' ? 'as a reader may' : 'as expected'}`
        counts.set(what, (counts.get(what) ?? 0) + 1)
        // Alone, none of them is anything that belongs here.
        if (place.frame[0] !== '') assert.equal(await read(file.bytes), false, file.name)
      }
      for (const what of [...counts.keys()].sort()) t.diagnostic(`${counts.get(what)} ${what}`)
      assert.deepEqual(wrong, [])
      assert.equal(
        [...counts.values()].reduce((sum, one) => sum + one),
        340,
      )
    },
  )
}

function refusable(read: (text: Buffer) => Promise<unknown>, { codes }: Place): Read {
  return async (text) => {
    try {
      await read(text)
      return true
    } catch (error) {
      if (error instanceof GatewayError && codes.includes(error.code)) return false
      // Of metadata: whoever asks for it makes an outage of it.
      if (error instanceof SyntaxError) return false
      throw error
    }
  }
}

function files(): readonly File[] {
  return ['test_parsing', 'test_transform'].flatMap((folder) =>
    vectorsIn('json-parsing', folder).map((name) => ({
      name,
      bytes: readVectors('json-parsing', folder, name),
    })),
  )
}

function token(header: Buffer, claims: Buffer): string {
  const input = `${header.toString('base64url')}.${claims.toString('base64url')}`
  return `${input}.${createHmac('sha256', SECRET).update(input).digest('base64url')}`
}

async function answering(t: TestContext): Promise<{ url: string; answer: (body: Buffer) => void }> {
  let body: Buffer = Buffer.alloc(0)
  const origin = await listen(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(body)
  })
  return { url: `${origin}/keys`, answer: (next) => (body = next) }
}

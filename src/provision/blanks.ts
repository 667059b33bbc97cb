import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { StandIn } from '../config/replace.ts'

/** What of an API a variable stands for that is not set yet. */
export type BlankOption = 'id' | 'secret' | 'privateKey' | 'signingSecret'

/** A variable that is not set, and that setting the tenant up finds a value for. */
export interface Blank {
  readonly api: string
  readonly option: BlankOption
  readonly variable: string
  /** For keys and signing secrets: theirs, if the tenant has none. For the others: nothing that is ever sent. */
  readonly standIn: string
}

export interface Blanks {
  /** For `loadConfig`: collects what is blank, and lets everything else be a fault. */
  readonly standIn: StandIn
  readonly list: readonly Blank[]
}

export function createBlanks(): Blanks {
  const list: Blank[] = []
  return {
    list,
    standIn(path, variable) {
      const [root, api, ...rest] = path.map(String)
      const option = OPTIONS[rest.join('.')]
      if (root !== 'apis' || api === undefined || option === undefined) return undefined
      const known = list.find((one) => one.variable === variable)
      const value = known?.standIn ?? MAKERS[option]()
      list.push({ api, option, variable, standIn: value })
      return value
    },
  }
}

const OPTIONS: Readonly<Record<string, BlankOption>> = {
  'client.id': 'id',
  'client.secret': 'secret',
  'client.privateKey': 'privateKey',
  signingSecret: 'signingSecret',
}

const RSA_BITS = 2_048
/** RFC 7518, section 3.2 asks for 32 with HS256. */
const SECRET_BYTES = 48

const MAKERS: Readonly<Record<BlankOption, () => string>> = {
  id: () => 'unset',
  secret: () => 'unset',
  // RSA: Auth0 takes no other for client assertions.
  privateKey: () =>
    generateKeyPairSync('rsa', {
      modulusLength: RSA_BITS,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }).privateKey,
  signingSecret: () => randomBytes(SECRET_BYTES).toString('base64url'),
}

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { OnVariable, StandIn } from '../config/replace.ts'

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
  /** For `loadConfig`, too: learns which variables stand for what, set or not. */
  readonly onVariable: OnVariable
  readonly list: readonly Blank[]
  /** The variable that stands for something; one that would override it, where none does in the file. */
  readonly variableOf: VariableOf
}

export type VariableOf = (api: string, option: BlankOption) => string

export function createBlanks(): Blanks {
  const list: Blank[] = []
  const names = new Map<string, string>()
  return {
    list,
    onVariable: (path, variable) => void names.set(path.join('.'), variable),
    variableOf(api, option) {
      const path = ['apis', api, ...PATHS[option]]
      return names.get(path.join('.')) ?? `BEHALF_${path.map(inVariable).join('__')}`
    },
    standIn(path, variable) {
      const [root, api, ...rest] = path.map(String)
      const option = OPTIONS.find((one) => PATHS[one].join('.') === rest.join('.'))
      if (root !== 'apis' || api === undefined || option === undefined) return undefined
      const known = list.find((one) => one.variable === variable)
      const value = known?.standIn ?? MAKERS[option]()
      list.push({ api, option, variable, standIn: value })
      return value
    },
  }
}

const PATHS = {
  id: ['client', 'id'],
  secret: ['client', 'secret'],
  privateKey: ['client', 'privateKey'],
  signingSecret: ['signingSecret'],
} as const satisfies Record<BlankOption, readonly string[]>

const OPTIONS = Object.keys(PATHS) as readonly BlankOption[]

function inVariable(step: string): string {
  return step
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_')
    .replace(/[^A-Za-z0-9]/g, '_')
    .toUpperCase()
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

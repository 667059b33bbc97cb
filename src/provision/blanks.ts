import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { OnVariable, StandIn } from '../config/replace.ts'

/** The option of an API that an unset variable stands for. */
export type BlankOption = 'id' | 'secret' | 'privateKey' | 'signingSecret'

/** A variable that is not set, and gets its value when the tenant is set up. */
export interface Blank {
  readonly api: string
  readonly option: BlankOption
  readonly variable: string
  /** A new key or signing secret, sent if the tenant has none. For other options a placeholder, which is never sent. */
  readonly standIn: string
}

export interface Blanks {
  /** For `loadConfig`: collects unset variables of these options; any other unset variable stays a fault. */
  readonly standIn: StandIn
  /** For `loadConfig`, too: records which variable stands for which option, set or not. */
  readonly onVariable: OnVariable
  readonly list: readonly Blank[]
  /** The variable that stands for an option in the file, or else the variable that would override the option. */
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
  // RSA, because Auth0 accepts no other key for client assertions.
  privateKey: () =>
    generateKeyPairSync('rsa', {
      modulusLength: RSA_BITS,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }).privateKey,
  signingSecret: () => randomBytes(SECRET_BYTES).toString('base64url'),
}

import { GatewayError, type StepUp } from '../errors.ts'
import { claimsChallenge } from '../exchange/claims-challenge.ts'

/** One challenge of a WWW-Authenticate header (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string
  /** Names in lower case to values without quotes and escapes. A `token68` is left out. */
  readonly parameters: ReadonlyMap<string, string>
}

/** No sensible answer has as much in its whole head. */
const MOST_CHARACTERS = 8_192

const GAP = /[ \t]*/y
const COMMAS = /[ \t,]*/y
const TOKEN = /[!#$%&'*+\-.^_`|~\dA-Za-z]+/y
const TOKEN68 = /[A-Za-z\d\-._~+/]+=*(?=[ \t]*(?:,|$))/y
const EQUALS = /[ \t]*=[ \t]*/y
const QUOTED = /"((?:[\t\x20\x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*)"/y
const END = /[ \t]*(?:,|$)/y

/**
 * Reads a list of challenges in one pass. Undefined where it breaks the grammar, names a parameter twice, or is longer than
 * 8 KiB: what can be read in two ways is not read at all.
 */
export function parseChallenges(text: string): readonly Challenge[] | undefined {
  if (text.length > MOST_CHARACTERS) return undefined
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const found = pattern.exec(text)
    if (found !== null) at = pattern.lastIndex
    return found
  }
  const challenges: Challenge[] = []
  /** The parameters of the last challenge; undefined where it can have none. */
  let parameters: Map<string, string> | undefined
  const takeParameter = (name: string): boolean => {
    const quoted = take(QUOTED)
    const value = quoted === null ? take(TOKEN)?.[0] : quoted[1]!.replace(/\\(.)/g, '$1')
    if (value === undefined || parameters === undefined || parameters.has(name)) return false
    parameters.set(name, value)
    return true
  }
  for (take(COMMAS); at < text.length; take(COMMAS)) {
    const name = take(TOKEN)?.[0].toLowerCase()
    if (name === undefined) return undefined
    if (take(EQUALS)) {
      if (!takeParameter(name)) return undefined
    } else {
      challenges.push({ scheme: name, parameters: (parameters = new Map()) })
      const alone = take(GAP)?.[0] === '' || at === text.length || text[at] === ','
      if (!alone && take(TOKEN68) !== null) parameters = undefined
      else if (!alone) {
        // The first parameter follows the scheme after a space.
        const first = take(TOKEN)?.[0].toLowerCase()
        if (first === undefined || take(EQUALS) === null || !takeParameter(first)) return undefined
      }
    }
    if (take(END) === null) return undefined
  }
  return challenges
}

/** RFC 6750, section 3.1; RFC 9470, section 3. The third is Microsoft's. */
const RESTATED = new Set([
  'insufficient_scope',
  'insufficient_user_authentication',
  'insufficient_claims',
])

/**
 * What an upstream asks of the user, in our words: from a challenge of `Bearer` or `DPoP` whose error says that the token is
 * good but not enough. Undefined for every other answer. Parameters are passed on where they have the form of their
 * specification, and left out where they have not; the upstream's own texts are never passed on. Pure.
 */
export function restated(rawHeaders: readonly Buffer[]): GatewayError | undefined {
  const lines: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toString('latin1')
    if (name.toLowerCase() !== 'www-authenticate') continue
    lines.push(rawHeaders[index + 1]!.toString('latin1'))
  }
  if (lines.length === 0) return undefined
  // RFC 9110, section 5.3: several lines are one list.
  const found = parseChallenges(lines.join(', '))?.find(
    ({ scheme, parameters }) =>
      (scheme === 'bearer' || scheme === 'dpop') && RESTATED.has(parameters.get('error') ?? ''),
  )
  return found && inOurWords(found.parameters)
}

function inOurWords(parameters: Challenge['parameters']): GatewayError | undefined {
  const error = parameters.get('error')
  if (error === 'insufficient_scope') {
    const scopes = words(parameters.get('scope'))
    return new GatewayError(error, 'the upstream asks for more scope', scopes && { scopes })
  }
  const stepUp = error === 'insufficient_claims' ? claimsOf(parameters) : stepUpOf(parameters)
  // Without the claims the caller could do nothing about the challenge.
  if (stepUp === undefined) return undefined
  return new GatewayError(
    'insufficient_user_authentication',
    'the upstream asks for a stronger authentication of the user',
    { stepUp },
  )
}

function claimsOf(parameters: Challenge['parameters']): StepUp | undefined {
  return claimsChallenge(Buffer.from(parameters.get('claims') ?? '', 'base64').toString('utf8'))
}

function stepUpOf(parameters: Challenge['parameters']): StepUp {
  const acrValues = words(parameters.get('acr_values'))
  const maxAge = /^\d{1,9}$/.exec(parameters.get('max_age') ?? '')?.[0]
  return {
    ...(acrValues && { acrValues }),
    ...(maxAge !== undefined && { maxAge: Number(maxAge) }),
  }
}

const MOST_WORDS_CHARACTERS = 1_024

/** RFC 6749, section 3.3: the form of `scope`; that of `acr_values` is the same (OpenID Connect Core 1.0, section 3.1.2.1). */
function words(list: string | undefined): readonly string[] | undefined {
  if (list === undefined || list.length > MOST_WORDS_CHARACTERS) return undefined
  return /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/.test(list)
    ? list.split(' ')
    : undefined
}

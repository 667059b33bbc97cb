import { FRAMING, HOP_BY_HOP, isOwned, OWNED, plainName } from '../config/header-names.ts'

/** What is done with a header. Numbers, because one is compared for every header of every request. */
export const PASS = 0
export const DROP = 1
export const CONNECTION = 2
export const CONTENT_LENGTH = 3
export const TRANSFER_ENCODING = 4
export const EXPECT = 5
export const HOST = 6
export const COOKIE = 7
export const FORWARDING = 8
export const CHALLENGE = 9
export const NONCE = 10
export const UPGRADE = 11
export const TRAILER = 12
export type Fate =
  | typeof PASS
  | typeof DROP
  | typeof CONNECTION
  | typeof CONTENT_LENGTH
  | typeof TRANSFER_ENCODING
  | typeof EXPECT
  | typeof HOST
  | typeof COOKIE
  | typeof FORWARDING
  | typeof CHALLENGE
  | typeof NONCE
  | typeof UPGRADE
  | typeof TRAILER

export type Judge = (name: string) => Fate

const REQUEST_FATES = new Map<string, Fate>([
  ...[...HOP_BY_HOP, ...OWNED].map((name) => [name, DROP] as const),
  ['connection', CONNECTION],
  ['upgrade', UPGRADE],
  ['content-length', CONTENT_LENGTH],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['expect', EXPECT],
  ['host', HOST],
  ['cookie', COOKIE],
  ['forwarded', FORWARDING],
])

function requestFate(name: string): Fate {
  const lower = name.toLowerCase()
  const fate = REQUEST_FATES.get(lower)
  if (fate !== undefined) return fate
  const plain = plainName(lower)
  // Only in this spelling: another one could pass for X-Forwarded-Client-Cert, which is not forwarded.
  if (lower === plain && lower.startsWith('x-forwarded-') && lower !== 'x-forwarded-client-cert') {
    return FORWARDING
  }
  return isOwned(plain) || REQUEST_FATES.has(plain) ? DROP : PASS
}

const RESPONSE_FATES = new Map<string, Fate>([
  ...[...HOP_BY_HOP, ...FRAMING].map((name) => [name, DROP] as const),
  ['connection', CONNECTION],
  ['content-length', CONTENT_LENGTH],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['www-authenticate', CHALLENGE],
  // The nonce is for the gateway's proofs: a caller's own proof never reaches this upstream.
  ['dpop-nonce', NONCE],
  ['x-request-id', DROP],
  ['trailer', TRAILER],
])

function responseFate(name: string): Fate {
  const lower = name.toLowerCase()
  return RESPONSE_FATES.get(lower) ?? (lower.startsWith('x-behalf-') ? DROP : PASS)
}

const MAX_REMEMBERED_NAMES = 1_024
const MAX_REMEMBERED_LENGTH = 40

/** Remembers judgements by the spelling that was sent. Bounded: a caller that fills it with junk only slows look-ups. */
function remembered(judge: Judge): Judge {
  const known = new Map<string, Fate>()
  return (name) => {
    const fate = known.get(name)
    if (fate !== undefined) return fate
    const judged = judge(name)
    if (known.size < MAX_REMEMBERED_NAMES && name.length <= MAX_REMEMBERED_LENGTH) {
      known.set(name, judged)
    }
    return judged
  }
}

export const fateOfRequest = remembered(requestFate)
export const fateOfResponse = remembered(responseFate)

/** Also drops a caller's headers of these names, in every spelling that a server could take for them. */
export function droppingRequest(names: readonly string[]): Judge {
  const dropped = new Set(names.map(plainName))
  return remembered((name) => (dropped.has(plainName(name)) ? DROP : requestFate(name)))
}

/** Also drops an upstream's headers of these names, in every such spelling. */
export function droppingResponse(names: readonly string[]): Judge {
  const dropped = new Set(names.map(plainName))
  return remembered((name) => (dropped.has(plainName(name)) ? DROP : responseFate(name)))
}

import { GatewayError } from '../errors.ts'

/** A request target. The same bytes are matched and forwarded. */
export interface Target {
  /** Begins with `/`. As the caller sent it: an ambiguous path is refused, never rewritten. */
  readonly path: string
  /** Begins with `?`, or is empty. */
  readonly query: string
}

export interface TargetOptions {
  /** The Host header, which an absolute-form target must repeat. Node's `request.headers` can be passed as options. */
  readonly host?: string | undefined
}

// Nearly every request sends whole segments of plain characters, and perhaps a query: this one test settles those. Segments
// that begin with a dot are rare, and take the slower checks below.
const ORDINARY =
  /^(?=\/)(?:\/(?!\.)[A-Za-z0-9\-._~!$&'()*+,=:@[\]|]+)*\/?(?:\?[\x21\x22\x24-\x7e]*)?$/

/**
 * Splits a request target into path and query, and refuses every path that two servers could read differently. An accepted
 * target is forwarded byte for byte, so that the upstream serves the path that was matched. Absolute-form (RFC 9112, section
 * 3.2.2) is read as origin-form where its authority is the Host. A path parameter (`;`) passes here, because only `match`
 * knows whether the route takes it. Does NOT check more of the query than its characters.
 *
 * @throws {GatewayError} `invalid_request_target`
 */
export function canonicalTarget(raw: string, options: TargetOptions): Target {
  if (ORDINARY.test(raw)) return split(raw)
  const target = split(raw.startsWith('/') ? raw : originForm(raw, options.host))
  for (const [pattern, fault] of QUERY_FAULTS) if (pattern.test(target.query)) refuse(fault)
  for (const [pattern, fault] of PATH_FAULTS) if (pattern.test(target.path)) refuse(fault)
  return target
}

function split(target: string): Target {
  const mark = target.indexOf('?')
  return mark < 0
    ? { path: target, query: '' }
    : { path: target.slice(0, mark), query: target.slice(mark) }
}

const ABSOLUTE = /^https?:\/\/([^/?#]+)(.*)$/i

/** RFC 9112, section 3.2.2. Authority-form and asterisk-form (sections 3.2.3 and 3.2.4) name no resource of a route. */
function originForm(raw: string, host: string | undefined): string {
  const [, authority, rest] = ABSOLUTE.exec(raw) ?? refuse('is neither a path nor a URL')
  if (authority!.includes('@')) refuse('holds user information')
  if (authority!.toLowerCase() !== host?.toLowerCase()) refuse('is a URL of another host')
  // RFC 9112, section 3.2.1: an empty path stands for "/".
  return rest!.startsWith('/') ? rest! : `/${rest}`
}

type Fault = readonly [pattern: RegExp, fault: string]

const NOT_VISIBLE: Fault = [/[^\x21-\x7e]/, 'holds a space, a control or a non-ASCII character']
const FRAGMENT: Fault = [/#/, 'holds a fragment']

const QUERY_FAULTS: readonly Fault[] = [NOT_VISIBLE, FRAGMENT]

const PATH_FAULTS: readonly Fault[] = [
  NOT_VISIBLE,
  FRAGMENT,
  [/\\/, 'holds a backslash'],
  // URL parsers encode these characters and most servers do not, so that the two read different paths.
  [/["<>^`{}]/, 'holds a character that must be percent-encoded'],
  [/\/\//, 'holds an empty segment'],
  // Servers that know path parameters drop `;` and what follows it before they resolve dots. Servers that decode the path
  // twice end it at an encoded `?` or `#`, and some trim names.
  [/\/\.{1,2}(?:[/;]|%(?:25)*(?:3b|3f|23|20)|$)/i, 'holds a dot segment'],
  [/\/;/, 'holds a segment of parameters alone'],
  [/%(?![0-9a-f]{2})/i, 'holds a malformed percent-encoding'],
  // Some servers end the path at such a character, or trim it.
  [/%(?:25)*(?:[01][0-9a-f]|7f)/i, 'holds an encoded control character'],
  // RFC 3986, section 6.2.2.2: some servers read an encoded unreserved character as the character itself, and servers that
  // decode more than once do so through any number of `%25`. An encoded `/`, `\` or NUL is a second path to them as well.
  [
    /%(?:25)*(?:00|2[d-f]|3[0-9]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])/i,
    'holds a percent-encoding that servers read differently',
  ],
  // RFC 3629, section 3, forbids sequences that are longer than needed; lenient decoders read `/` and `.` from them.
  [/%(?:25)*(?:c[01]%(?:25)*[89ab]|e0%(?:25)*[89]|f0%(?:25)*8)/i, 'holds overlong UTF-8'],
]

function refuse(fault: string): never {
  throw new GatewayError('invalid_request_target', `the request target ${fault}`)
}

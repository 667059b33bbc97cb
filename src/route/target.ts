import { GatewayError } from '../errors.ts'

/** A request target in the one spelling that is matched and forwarded. */
export interface Target {
  /** Begins with `/`. As it was sent: canonicalising refuses, it never rewrites. */
  readonly path: string
  /** Begins with `?`, or is empty. */
  readonly query: string
}

export interface TargetOptions {
  /** The Host header, which an absolute-form target must repeat. Node's `request.headers` fits as it is. */
  readonly host?: string | undefined
}

// Whole segments of plain characters, and any query: what nearly every request sends, settled by one pass. Segments
// that begin with a dot are rare enough for the careful path.
const ORDINARY =
  /^(?=\/)(?:\/(?!\.)[A-Za-z0-9\-._~!$&'()*+,=:@[\]|]+)*\/?(?:\?[\x21\x22\x24-\x7e]*)?$/

/**
 * The path and query that a request target names, provided that every server reads them alike: what it accepts is
 * forwarded byte for byte, so that what was matched is what the upstream serves. Absolute-form (RFC 9112, section
 * 3.2.2) is read as origin-form where its authority is the Host. A path parameter (`;`) passes here; `match` knows
 * whether its route takes them. Does NOT look into the query beyond its characters.
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

/** RFC 9112, section 3.2.2. Authority-form and asterisk-form (sections 3.2.3 and 3.2.4) name no resource of ours. */
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
  // URL parsers encode these and most servers do not, so that the two read different paths.
  [/["<>^`{}]/, 'holds a character that must be percent-encoded'],
  [/\/\//, 'holds an empty segment'],
  // Servers that know path parameters drop `;` and what follows before they resolve dots; others, that read the path twice,
  // end it at an encoded `?` or `#`, or trim names.
  [/\/\.{1,2}(?:[/;]|%(?:25)*(?:3b|3f|23|20)|$)/i, 'holds a dot segment'],
  [/\/;/, 'holds a segment of parameters alone'],
  [/%(?![0-9a-f]{2})/i, 'holds a malformed percent-encoding'],
  // Some servers end the path here, or trim it.
  [/%(?:25)*(?:[01][0-9a-f]|7f)/i, 'holds an encoded control character'],
  // RFC 3986, section 6.2.2.2: an encoded unreserved character is the character itself, to some. `%25` before it, once
  // or more, is the same for those that decode twice. With `/`, `\` and NUL they make two paths out of one.
  [
    /%(?:25)*(?:00|2[d-f]|3[0-9]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])/i,
    'holds a percent-encoding that servers read differently',
  ],
  // RFC 3629, section 3: lenient decoders make `/` and `.` out of sequences longer than needed.
  [/%(?:25)*(?:c[01]%(?:25)*[89ab]|e0%(?:25)*[89]|f0%(?:25)*8)/i, 'holds overlong UTF-8'],
]

function refuse(fault: string): never {
  throw new GatewayError('invalid_request_target', `the request target ${fault}`)
}

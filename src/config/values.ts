import { isIP } from 'node:net'
import { z } from 'zod'
import { durationText, parseDuration, parseSize } from './units.ts'

/* The kinds of value that options take. `kind` names one in the reference; `writeOnly` marks a secret. */

/** Node's timers count in 32 bits: beyond 24 days they would fire at once. A day is enough. */
const LONGEST_TIMER_MS = 86_400_000
export const FOREVER_MS = 366 * 86_400_000

export function text(): z.ZodString {
  return z.string().min(1)
}

/** Text that must not be printed, logged or quoted, and has a `_FILE` twin in the environment. */
export function secret(): z.ZodString {
  return text().meta({ writeOnly: true })
}

/** Public material: PEM, or the path of a file with it. */
export function pem(): z.ZodString {
  return text().meta({ kind: 'PEM or path' })
}

export function filePath(): z.ZodString {
  return text().meta({ kind: 'path' })
}

interface DurationBounds {
  readonly least?: number
  readonly most?: number
}

export function duration({ least = 1, most = LONGEST_TIMER_MS }: DurationBounds = {}) {
  return z
    .string({ error: ({ input }) => (input == null ? undefined : NOT_A_DURATION) })
    .transform((written, context) => {
      const ms = parseDuration(written)
      if (ms === undefined) return refuse(context, NOT_A_DURATION)
      if (ms < least) return refuse(context, 'must be longer than nothing')
      if (ms > most) return refuse(context, `must be at most ${durationText(most)}`)
      return ms
    })
    .meta({ kind: 'duration' })
}

const NOT_A_DURATION = 'must be a duration such as `500ms`, `5s`, `10m`, `1h` or `7d`'
const NOT_A_SIZE = 'must be a size such as `64KiB`, `256MiB` or `1GiB`, or a number of bytes'

export function size() {
  return z
    .union([z.int(), z.string()], {
      error: ({ input }) => (input == null ? undefined : NOT_A_SIZE),
    })
    .transform((written, context) => {
      const bytes = parseSize(String(written))
      return bytes === undefined ? refuse(context, NOT_A_SIZE) : bytes
    })
    .meta({ kind: 'size' })
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message })
  return z.NEVER
}

export function oneOrMany<Item extends z.ZodType>(item: Item) {
  return z.union([item, z.array(item).min(1)])
}

/** Text that is checked by a function, which returns the problem, or undefined where there is none. */
export function checked(kind: string, problem: (written: string) => string | undefined) {
  return text()
    .check((context) => {
      const message = context.value === '' ? undefined : problem(context.value)
      if (message !== undefined) {
        context.issues.push({ code: 'custom', message, input: context.value })
      }
    })
    .meta({ kind })
}

const NOT_AN_ADDRESS = 'must be an address and a port, such as `127.0.0.1:8080` or `[::1]:8080`'

export function listenAddress() {
  return z
    .string({ error: ({ input }) => (input == null ? undefined : NOT_AN_ADDRESS) })
    .transform((written, context) => {
      const [, bracketed, plain, port] =
        /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(written) ?? []
      const host = bracketed ?? plain
      const wrong = bracketed !== undefined && isIP(bracketed) !== 6
      if (host === undefined || wrong || Number(port) > 65_535) {
        return refuse(context, NOT_AN_ADDRESS)
      }
      return { host, port: Number(port) }
    })
    .meta({ kind: 'address' })
}

export function origin() {
  return checked('origin', (written) =>
    /^https?:/.test(written) && URL.canParse(written) && new URL(written).origin === written
      ? undefined
      : 'must be an origin in lower case and nothing more, such as `https://gateway.example`',
  )
}

export function network() {
  return checked('network', (written) => {
    const [, address = '', prefix = ''] = /^([^/]+)\/(\d{1,3})$/.exec(written) ?? []
    const bits = { 4: 32, 6: 128 }[isIP(address)]
    return bits === undefined || Number(prefix) > bits
      ? 'must be a network such as `10.0.0.0/8` or `fd00::/8`; a single host is `192.0.2.1/32`'
      : undefined
  })
}

/** RFC 8414, section 2: a URL with neither query nor fragment. */
export function issuerIdentifier() {
  return checked(
    'URL',
    (written) =>
      urlProblem(written) ?? (written.includes('?') ? 'must not hold a query' : undefined),
  )
}

export function endpoint() {
  return checked('URL', urlProblem)
}

function urlProblem(written: string): string | undefined {
  if (!/^https?:\/\/[^\s\\]+$/.test(written) || !URL.canParse(written)) {
    return 'must be an `https:` URL'
  }
  const { username, password } = new URL(written)
  if (username !== '' || password !== '') return 'must not hold credentials'
  return written.includes('#') ? 'must not hold a fragment' : undefined
}

/** RFC 8707, section 2. */
export function resourceIndicator() {
  return checked('URI', (written) => {
    if (!URL.canParse(written) || /\s/.test(written)) return 'must be an absolute URI (RFC 8707)'
    return written.includes('#') ? 'must not hold a fragment (RFC 8707)' : undefined
  })
}

/** RFC 9728, section 1.2. Compared as text, so only one spelling is accepted. */
export function resource() {
  return checked('URL', (written) => {
    const problem = urlProblem(written)
    if (problem !== undefined) return problem
    if (written.includes('?')) return 'must not hold a query'
    const { origin: base, pathname, href } = new URL(written)
    if (href !== written && base !== written) return `must be written \`${href}\``
    const inPath = pathProblem(pathname)
    return inPath === undefined ? undefined : `has a path that ${inPath}`
  })
}

/** RFC 6749, section 3.3. */
export function scopeToken() {
  return checked('scope', (written) =>
    /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(written)
      ? undefined
      : 'must be a single scope, without spaces, quotes or backslashes (RFC 6749)',
  )
}

export function scopes(description: string) {
  return z.array(scopeToken()).prefault([]).describe(description)
}

export function upstream() {
  return checked('URL', (written) => {
    if (written.startsWith('unix:')) return socketProblem(written.slice('unix:'.length))
    if (!/^https?:\/\/[^\s\\]+$/.test(written) || !URL.canParse(written)) {
      return 'must be an `http:` or `https:` URL'
    }
    const { username, password, origin: base } = new URL(written)
    if (username !== '' || password !== '') return 'must not hold credentials'
    if (/[?#]/.test(written)) return 'must not hold a query or a fragment'
    const path = written.replace(/^https?:\/\/[^/]+/, '').replace(/\/$/, '')
    const problem = path === '' ? undefined : pathProblem(path)
    if (problem !== undefined) return `has a base path that ${problem}`
    return base === 'null' ? 'must be an `http:` or `https:` URL' : undefined
  }).transform((written) => {
    if (written.startsWith('unix:')) return written
    const { origin: base } = new URL(written)
    return base + written.replace(/^https?:\/\/[^/]+/, '').replace(/\/$/, '')
  })
}

/** The smallest `sun_path` of `sockaddr_un` on any system has 104 bytes, one of them for the zero at its end. */
const LONGEST_SOCKET_PATH = 103

export function socketProblem(path: string): string | undefined {
  if (!/^\/[\x21-\x7e]*[^/]$/.test(path)) return 'must be `unix:` and an absolute path'
  return path.length > LONGEST_SOCKET_PATH
    ? `must have a path of at most ${LONGEST_SOCKET_PATH} characters`
    : undefined
}

/** A path that requests can match. Refuses those that are refused in a request, and so would never match. */
export function path() {
  return checked('path', pathProblem)
}

/** A path in which a whole segment may be a parameter. */
export function pathPattern() {
  return checked('path', (written) => {
    const names = [...written.matchAll(/\/\{([^/]*)\}(?=\/|$)/g)].map(([, name]) => name!)
    const wrong = names.find((name) => !/^[A-Za-z][A-Za-z0-9_]*$/.test(name))
    if (wrong !== undefined) return 'must name a parameter by letters, digits and `_`: `{id}`'
    const repeated = names.find((name, index) => names.indexOf(name) !== index)
    if (repeated !== undefined) return `must not repeat the parameter \`{${repeated}}\``
    return pathProblem(written.replace(/\/\{[^/]*\}(?=\/|$)/g, '/parameter'))
  })
}

/** A host name, or `*.` and a host name, that requests are matched by. */
export function hostPattern() {
  return checked('host', hostProblem)
}

/** A host name that a listener accepts beside addresses and `localhost`, which it always accepts. */
export function askedHost() {
  return checked('host', (written) =>
    isIP(written) !== 0 || written === 'localhost'
      ? 'is answered anyway, and is not to be listed'
      : hostProblem(written),
  )
}

function hostProblem(written: string): string | undefined {
  return /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*$/.test(
    written,
  )
    ? undefined
    : 'must be a host in lower case and without a port, such as `api.example` or `*.example`'
}

function pathProblem(written: string): string | undefined {
  if (!written.startsWith('/')) return 'must begin with `/`'
  if (written === '/') return undefined
  if (written.endsWith('/')) return 'must not end with `/`: it holds what is below it anyway'
  if (written.includes('//')) return 'must not hold an empty segment (`//`)'
  if (/\/\.{1,2}(?:\/|$)/.test(written)) return 'must not hold a dot segment'
  const [character] = /[^A-Za-z0-9\-._~!$&'()*+,=:@/[\]|]/.exec(written) ?? []
  return character === undefined ? undefined : `must not hold \`${character}\``
}

export function method() {
  return checked('method', (written) => {
    if (!/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(written)) return 'must be a method such as `GET`'
    const upper = written.toUpperCase()
    if (upper === 'CONNECT' || upper === 'TRACE')
      return `must not be \`${upper}\`: it is never proxied`
    return written === upper ? undefined : `must be in upper case: \`${upper}\``
  })
}

/** The fields that select the grant and authenticate the client. The configuration must not replace them. */
const UNTOUCHABLE: ReadonlySet<string> = new Set([
  'grant_type',
  'client_id',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
])

/** The name of a field of the token endpoint's form. */
export function parameterName() {
  return checked('name', (written) => {
    if (!/^[\x21-\x7e]{1,128}$/.test(written)) return 'must be a name without spaces'
    return UNTOUCHABLE.has(written) ? 'is no parameter that can be changed' : undefined
  })
}

export function parameter() {
  return z
    .union(
      [
        z.string(),
        z.null(),
        z.strictObject({
          rename: parameterName().describe('The name that the field is sent by.'),
        }),
      ],
      { error: ({ input }) => (input === undefined ? undefined : NOT_A_PARAMETER) },
    )
    .meta({ kind: 'text, `null` or mapping' })
}

const NOT_A_PARAMETER = 'must be text, `null` or `{ rename: NAME }`'

/** Headers that already have a meaning: to HTTP, browsers, proxies, or for another token. */
const TAKEN_HEADER = new RegExp(
  `^(?:${[
    'authorization|proxy-.*|cookie|set-cookie|www-authenticate|dpop|dpop-nonce|client-cert.*',
    'host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|via|date|http2-settings',
    'accept|accept-.*|content-.*|cache-control|pragma|expires|age|vary|etag|if-.*|range|allow|link',
    'location|retry-after|server|user-agent|origin|referer|access-control-.*|sec-.*',
    'forwarded|x-forwarded-.*|x-real-ip|x-request-id|x-original-url|x-rewrite-url',
  ].join('|')})$`,
)

/** The name of a header that brings a secret, in lower case. Only characters that every server reads alike are accepted. */
export function secretHeader() {
  return checked('header', (written) => {
    if (!/^[A-Za-z][A-Za-z0-9-]{2,63}$/.test(written)) {
      return 'must be a header name of letters, digits and `-`, such as `x-refresh-token`'
    }
    return TAKEN_HEADER.test(written.toLowerCase())
      ? 'is a header with a meaning of its own'
      : undefined
  }).transform((written) => written.toLowerCase())
}

/** The name of an issuer or API: it appears in logs, metrics and names of variables, which limits its characters. */
export function name() {
  return checked('name', (written) =>
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(written)
      ? undefined
      : 'must be a name of letters, digits, `-` and `_`, beginning with a letter or digit',
  )
}

/** The name of a route, which may be a path. */
export function routeName() {
  return checked('text', (written) =>
    /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/.test(written)
      ? undefined
      : 'must be at most 128 visible characters without spaces, quotes and backslashes',
  )
}

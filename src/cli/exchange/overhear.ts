import type { Outbound, OutboundRequest } from '../../outbound.ts'
import { isPublicField, type Secrets } from '../../server/secrets.ts'

/** One request to a token endpoint, as it was sent, without its secrets. */
export interface Asked {
  readonly url: string
  readonly clientAuthentication: string
  /** Set if the request had a proof, to whose key the issued token is to be bound (RFC 9449, section 5). */
  readonly proof?: 'DPoP'
  readonly form: readonly { readonly name: string; readonly value: string }[]
  /** Absent if no answer came. */
  answer?: Answered
}

export interface Answered {
  readonly status: number
  readonly milliseconds: number
  /** Members that are not credentials, as they came. */
  readonly members: Readonly<Record<string, unknown>>
  /** The names of all other members. */
  readonly withheld: readonly string[]
  /** The claims of the access token, if it can be read; its signature is NOT verified. */
  readonly claims?: Readonly<Record<string, unknown>>
}

// Any other member may be a credential, whatever its name.
const ANSWER_SHOWN: ReadonlySet<string> = new Set([
  ...['token_type', 'issued_token_type', 'expires_in', 'scope', 'error', 'error_description'],
])

export interface OverhearOptions {
  readonly secrets: Secrets
  /** The replacement for a value that is the subject token. */
  readonly nameOf: (value: string) => string | undefined
}

export interface Overheard {
  readonly asked: readonly Asked[]
  /**
   * The same outbound, with its requests recorded.
   *
   * @param shown how the client authenticates if the request itself does not show it
   */
  hear(outbound: Outbound, shown?: string): Outbound
}

/** Records each request to a token endpoint as it was sent, and its answer. */
export function overhear({ secrets, nameOf }: OverhearOptions): Overheard {
  const asked: Asked[] = []

  function note(url: string, { headers = {}, body = '' }: OutboundRequest, shown: string): Asked {
    const form = new URLSearchParams(body)
    const fields = [...form].map(([name, value]) => {
      const shown = nameOf(value) ?? (isPublicField(name) ? value : undefined)
      if (shown === undefined) secrets.add(value)
      return { name, value: shown ?? '[withheld]' }
    })
    const clientAuthentication = authenticationOf(form, sends('authorization', headers)) ?? shown
    const proof = sends('dpop', headers) ? ({ proof: 'DPoP' } as const) : {}
    const one = { url, clientAuthentication, ...proof, form: fields }
    asked.push(one)
    return one
  }

  return {
    asked,
    hear: (outbound, shown = 'none') => ({
      async fetch(url, init = {}) {
        if (init.method !== 'POST') return outbound.fetch(url, init)
        const one = note(url, init, shown)
        const startedAt = performance.now()
        const response = await outbound.fetch(url, init)
        const text = await response.clone().text()
        one.answer = {
          status: response.status,
          milliseconds: Math.round(performance.now() - startedAt),
          ...describe(text, secrets),
        }
        return response
      },
      close: () => outbound.close(),
    }),
  }
}

function sends(name: string, headers: NonNullable<OutboundRequest['headers']>): boolean {
  const given = Symbol.iterator in headers ? headers : Object.entries(headers)
  return Array.from(given, ([one]) => one.toLowerCase()).includes(name)
}

/** RFC 6749, section 2.3.1, and RFC 7523, section 2.2. Does NOT see a client certificate of the connection. */
function authenticationOf(form: URLSearchParams, hasHeader: boolean): string | undefined {
  if (hasHeader) return 'client_secret_basic'
  if (form.has('client_secret')) return 'client_secret_post'
  return form.has('client_assertion') ? 'client_assertion' : undefined
}

function describe(
  text: string,
  secrets: Secrets,
): Pick<Answered, 'members' | 'withheld' | 'claims'> {
  const answer = jsonObject(text)
  if (answer === undefined) return { members: {}, withheld: ['a body that is no JSON object'] }
  const entries = Object.entries(answer)
  for (const [name, value] of entries) {
    if (!ANSWER_SHOWN.has(name) && typeof value === 'string') secrets.add(value)
  }
  const { access_token: token } = answer
  const [, payload, signature, ...more] = typeof token === 'string' ? token.split('.') : []
  const readable = payload !== undefined && signature !== undefined && more.length === 0
  const claims = readable
    ? jsonObject(Buffer.from(payload, 'base64url').toString('utf8'))
    : undefined
  return {
    members: Object.fromEntries(entries.filter(([name]) => ANSWER_SHOWN.has(name))),
    withheld: entries.map(([name]) => name).filter((name) => !ANSWER_SHOWN.has(name)),
    ...(claims && { claims }),
  }
}

function jsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Readonly<Record<string, unknown>>
    }
  } catch {
    // In a body that is not JSON, credentials cannot be told from the rest: none of it is shown.
  }
  return undefined
}

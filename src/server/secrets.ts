import type { Api, Client } from '../config/config.ts'

/** Texts that must not be printed. */
export interface Secrets {
  add(secret: string): void
  /** The same value without the secrets, without what looks like a JWT, and without control characters. */
  without<Value>(value: Value): Value
}

/** Shorter secrets would be found in any text, and protect nothing. */
const SHORTEST = 4
const JWT_SHAPED = /eyJ[\w-]{8,}(?:\.[\w-]*)+/g

/** The last guard before output: it removes secrets that other code forgot, or that come back in a claim. */
export function createSecrets(): Secrets {
  const known = new Set<string>()

  function cleaned(text: string): string {
    let clean = text
    for (const secret of known) clean = clean.replaceAll(secret, '[secret]')
    return clean.replace(JWT_SHAPED, '[token]').replace(/[\x00-\x1f\x7f-\x9f]/g, ' ')
  }

  function without(value: unknown): unknown {
    if (typeof value === 'string') return cleaned(value)
    if (Array.isArray(value)) return value.map(without)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [cleaned(name), without(member)]),
    )
  }

  return {
    add(secret) {
      if (secret.length >= SHORTEST) known.add(secret)
    },
    without: <Value>(value: Value) => without(value) as Value,
  }
}

const PUBLIC: ReadonlySet<string> = new Set(['id', 'method', 'keyId', 'algorithm'])

/** The given tokens, the signing secrets of the APIs, and everything of their clients that is not known to be public. */
export function secretsOf(apis: readonly Api[], ...tokens: readonly string[]): Secrets {
  const secrets = createSecrets()
  tokens.forEach(secrets.add)
  for (const { client, verification } of apis) {
    clientSecrets(client).forEach(secrets.add)
    if (verification.kind === 'secret') verification.secrets.forEach(secrets.add)
  }
  return secrets
}

export function clientSecrets(client: Client | undefined): readonly string[] {
  return Object.entries(client ?? {})
    .filter(([name]) => !PUBLIC.has(name))
    .flatMap(([, value]: [string, unknown]) => (typeof value === 'string' ? [value] : []))
}

const PUBLIC_FIELDS: ReadonlySet<string> = new Set([
  ...['grant_type', 'subject_token_type', 'actor_token_type', 'requested_token_type', 'audience'],
  ...['resource', 'scope', 'client_id', 'client_assertion_type', 'requested_token_use'],
])

/** Whether a field of a token request is public. Any other may be a credential: a route can send fields of its own. */
export function isPublicField(name: string): boolean {
  return PUBLIC_FIELDS.has(name)
}

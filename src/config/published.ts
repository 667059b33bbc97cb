import type { Listen } from './config.ts'
import type { Faults } from './faults.ts'
import { isLoopback } from './issuers.ts'
import { many, mapping } from './parts.ts'

/** The beginning of the demo's secrets, which are published. */
const OF_THE_DEMO = /^demo-only-/

interface Surroundings {
  /** APIs and issuers as they are written, faulty ones included. */
  readonly apis: Readonly<Record<string, unknown>>
  readonly issuers: Readonly<Record<string, unknown>>
  /** The addresses where callers are served. */
  readonly listeners: readonly (Listen | undefined)[]
}

/** Refuses the demo's signing secrets beyond loopback: whoever knows a signing secret can pose as any user. */
export function checkPublishedSecrets(
  { apis, issuers, listeners }: Surroundings,
  faults: Faults,
): void {
  const isOpen = listeners.some((listen) => listen !== undefined && !isLoopback(listen.host))
  for (const [name, value] of Object.entries(apis)) {
    const { signingSecret, signingSecrets, issuer } = mapping(value)
    const identifiers = many(mapping(issuers[String(issuer)])['issuer'] as string | string[])
    if (!isOpen && identifiers.every(isOnLoopback)) continue
    const secrets = [
      ...many(signingSecret).map((secret) => [['signingSecret'], secret] as const),
      ...many(signingSecrets).map((secret, index) => [['signingSecrets', index], secret] as const),
    ]
    for (const [path, secret] of secrets) {
      if (typeof secret !== 'string' || !OF_THE_DEMO.test(secret)) continue
      const message =
        "is the demo's, which everybody knows: it is for issuers and listeners on loopback"
      faults.add(['apis', name, ...path], message)
    }
  }
}

function isOnLoopback(identifier: unknown): boolean {
  return URL.canParse(String(identifier)) && isLoopback(new URL(String(identifier)).hostname)
}

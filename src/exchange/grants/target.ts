import type { ExchangeConfig, OneOrMany } from '../../config/config.ts'

/** Adds what the token is for: each audience and each resource (RFC 8693, section 2.1; RFC 8707), and the scopes. */
export function setTarget(
  form: URLSearchParams,
  { audience, resource, scopes }: Pick<ExchangeConfig, 'audience' | 'resource' | 'scopes'>,
): void {
  for (const one of listOf(audience)) form.append('audience', one)
  for (const one of listOf(resource)) form.append('resource', one)
  if (scopes.length > 0) form.set('scope', scopes.join(' '))
}

export function listOf(given: OneOrMany | undefined): readonly string[] {
  return given === undefined ? [] : typeof given === 'string' ? [given] : given
}

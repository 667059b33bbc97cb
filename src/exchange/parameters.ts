import type { Parameter } from '../config/config.ts'

/**
 * The form with the route's changes applied: text adds or replaces a field, null leaves it out, `rename` sends all its
 * values under another name. Pure.
 */
export function withParameters(
  form: URLSearchParams,
  parameters: Readonly<Record<string, Parameter>>,
): URLSearchParams {
  const changed = new URLSearchParams()
  for (const [name, value] of form) {
    const change = Object.hasOwn(parameters, name) ? parameters[name] : undefined
    if (change === undefined) changed.append(name, value)
    else if (typeof change === 'object' && change !== null) changed.append(change.rename, value)
  }
  for (const [name, change] of Object.entries(parameters)) {
    if (typeof change === 'string') changed.append(name, change)
  }
  return changed
}

import type { z } from 'zod'
import type { HeaderRules, HeaderSetting } from './config.ts'
import type { Faults, Path } from './faults.ts'
import type { headers } from './header-options.ts'
import { plainName } from './header-names.ts'

type HeadersInput = z.output<typeof headers>

/** Resolves a route's `headers`; undefined where it changes none. */
export function resolveHeaders(
  input: HeadersInput,
  at: Path,
  faults: Faults,
): HeaderRules | undefined {
  const { set, remove, response } = input
  refuseRepeated(Object.keys(set), remove, at, faults)
  refuseRepeated(Object.keys(response.set), response.remove, [...at, 'response'], faults)
  const rules: HeaderRules = {
    request: { set: Object.entries(set).map(settingOf), remove },
    response: { set: Object.entries(response.set), remove: response.remove },
  }
  const isEmpty = [rules.request, rules.response].every(
    (side) => side.set.length === 0 && side.remove.length === 0,
  )
  return isEmpty ? undefined : rules
}

function refuseRepeated(
  set: readonly string[],
  remove: readonly string[],
  at: Path,
  faults: Faults,
): void {
  const owners = new Map<string, string>()
  for (const name of set) {
    const plain = plainName(name)
    if (owners.has(plain)) faults.add([...at, 'set', name], `repeats \`${owners.get(plain)}\``)
    owners.set(plain, name)
  }
  for (const [index, name] of remove.entries()) {
    // With a name in both lists nobody could tell which of them counts.
    if (owners.has(plainName(name))) {
      faults.add([...at, 'remove', index], 'is in `set`, too, which removes it from callers anyway')
    }
  }
}

function settingOf([name, written]: readonly [string, string]): HeaderSetting {
  const [, before = written, claim, after = ''] = TEMPLATE.exec(written) ?? []
  return { name, before, claim: claim === undefined ? undefined : wayTo(claim), after }
}

const TEMPLATE = /^([^{}]*)\{claims\.([^{}]+)\}([^{}]*)$/

/** Dots lead into objects, except in a URL: custom claims are named by URLs. */
function wayTo(claim: string): readonly string[] {
  return claim.includes('/') ? [claim] : claim.split('.')
}

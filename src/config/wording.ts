import type { z } from 'zod'
import type { Faults, Path } from './faults.ts'
import { suggestion } from './nearest.ts'
import { configurationSchema } from './schema.ts'
import { keysOf, shapeAt } from './shape.ts'

type Issue = z.core.$ZodIssue

/** Reports all faults that the schema finds. */
export function checkShape(value: unknown, faults: Faults): void {
  const result = configurationSchema.safeParse(value, { error: wording })
  for (const issue of result.error?.issues ?? []) report(issue, [], faults)
}

function report(issue: Issue, above: Path, faults: Faults): void {
  const path = [...above, ...issue.path.map((step) => (typeof step === 'symbol' ? '' : step))]
  // A value that could not be read was reported before, and is only missing here.
  if (faults.at(path) && issue.code !== 'unrecognized_keys') return
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) faults.add(path, unknownKey(key, path), { key })
  } else if (issue.code === 'invalid_key') {
    const [problem] = issue.issues
    faults.add(path.slice(0, -1), `the name \`${String(path.at(-1))}\` ${problem?.message}`, {
      key: String(path.at(-1)),
    })
  } else if (issue.code === 'invalid_union') {
    const meant = issue.errors.filter((branch) => !branch.some(isOfAnotherType))
    if (meant.length !== 1) faults.add(path, issue.message)
    for (const inner of meant.length === 1 ? meant[0]! : []) report(inner, path, faults)
  } else {
    faults.add(path, issue.message)
  }
}

/** Whether a branch of a union failed because the value is of another type: then that branch was not meant. */
function isOfAnotherType(issue: Issue): boolean {
  return issue.code === 'invalid_type' && issue.path.length === 0
}

function unknownKey(key: string, path: Path): string {
  const known = keysOf(shapeAt(path) ?? {})
  const meant = suggestion(key, known)
  return `unknown key \`${key}\`${meant === '' ? `; known are ${listed(known)}` : meant}`
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list, such as `[one, two]`',
  number: 'a number',
  int: 'a whole number',
  boolean: '`true` or `false`',
}

/** Describes what is wrong with a value. Never quotes the value: it may be a secret that stands in the wrong line. */
function wording(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined) return 'is required'
  if (issue.input === null) return 'has no value: write one, or leave the key out'
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${KINDS[issue.expected] ?? issue.expected}`
    case 'invalid_union':
      return 'must be text or a list of texts'
    case 'invalid_value': {
      const values = issue.values.map(String)
      const meant = typeof issue.input === 'string' ? suggestion(issue.input, values) : ''
      return `must be ${values.length === 1 ? '' : 'one of '}${listed(values)}${meant}`
    }
    case 'too_small':
      if (issue.origin === 'string') return 'must not be empty'
      if (issue.origin === 'array') return 'must hold at least one entry'
      return `must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`
    case 'too_big':
      return `must be at most ${issue.maximum}`
    default:
      return undefined
  }
}

function listed(values: readonly string[]): string {
  return values.map((value) => `\`${value}\``).join(', ')
}

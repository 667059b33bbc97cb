import type { z } from 'zod'
import { suggestion } from './nearest.ts'

/** Resolved entries by name. Undefined for an entry with faults. */
export type Named<Value> = ReadonlyMap<string, Value | undefined>

/** Parses a value by its schema; undefined where it has faults, which were reported before. */
export function part<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> | undefined {
  return schema.safeParse(value).data
}

export function mapping(value: unknown): Readonly<Record<string, unknown>> {
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isMapping ? (value as Record<string, unknown>) : {}
}

export function many<Item>(oneOrMany: Item | readonly Item[] | undefined): readonly Item[] {
  return oneOrMany === undefined ? [] : ([oneOrMany].flat() as Item[])
}

export function present<Value>(named: Named<Value>): readonly Value[] {
  return [...named.values()].filter((value) => value !== undefined)
}

export function unknownName(kind: string, name: string, known: Iterable<string>): string {
  const names = [...known]
  const meant = suggestion(name, names)
  if (meant !== '') return `there is no ${kind} \`${name}\`${meant}`
  const listed = names.map((one) => `\`${one}\``).join(', ')
  return `there is no ${kind} \`${name}\`; ${names.length === 0 ? 'there are none' : `there are ${listed}`}`
}

import { z } from 'zod'
import type { Path } from './faults.ts'
import { configurationSchema } from './schema.ts'

/** A part of the JSON Schema: what is known about an option without a value. */
export type Shape = z.core.JSONSchema.BaseSchema

let whole: Shape | undefined

/** The JSON Schema (2020-12) of the configuration as it is written: before defaults and conversions. */
export function configurationShape(): Shape {
  return (whole ??= z.toJSONSchema(configurationSchema, { io: 'input' }))
}

/** The kinds of value that an option takes. */
export function alternatives(shape: Shape): readonly Shape[] {
  return shape.anyOf === undefined ? [shape] : shape.anyOf.flatMap(nested).flatMap(alternatives)
}

/** The shape below a key or an index; undefined where nothing may stand there. */
export function below(shape: Shape, step: string | number): Shape | undefined {
  for (const one of alternatives(shape)) {
    if (typeof step === 'number') {
      if (one.type === 'array') return nested(one.items)[0]
    } else if (Object.hasOwn(one.properties ?? {}, step)) {
      return nested(one.properties?.[step])[0]
    } else if (isNamed(one)) {
      return nested(one.additionalProperties)[0]
    }
  }
  return undefined
}

/** The shape at a path; undefined where nothing may stand there. */
export function shapeAt(path: Path): Shape | undefined {
  return path.reduce<Shape | undefined>(
    (shape, step) => shape && below(shape, step),
    configurationShape(),
  )
}

/** The keys that a mapping may hold; empty where names are the user's own. */
export function keysOf(shape: Shape): readonly string[] {
  return alternatives(shape).flatMap((one) => Object.keys(one.properties ?? {}))
}

/** Whether a mapping's keys are names of the user's choice. */
export function isNamed(shape: Shape): boolean {
  return nested(shape.additionalProperties).length > 0
}

export function takes(shape: Shape, type: 'string' | 'array' | 'object'): boolean {
  return alternatives(shape).some((one) => one.type === type)
}

/** Converts text to the number or boolean that the option takes. Text that does not fit is kept: later checks report it. */
export function typed(shape: Shape | undefined, text: string): unknown {
  const kinds = shape === undefined ? [] : alternatives(shape).map(({ type }) => type)
  const isNumber = kinds.includes('number') || kinds.includes('integer')
  if (isNumber && /^-?\d{1,15}(?:\.\d{1,15})?$/.test(text)) return Number(text)
  if (kinds.includes('boolean') && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

function nested(schema: unknown): readonly Shape[] {
  if (Array.isArray(schema)) return schema.flatMap(nested)
  return typeof schema === 'object' && schema !== null ? [schema as Shape] : []
}

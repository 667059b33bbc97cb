/** Where the vectors are that others wrote. None of them is part of this project. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = process.env['VECTORS_DIR']

/** For the option `skip` of a test: why, or false. */
export const skip = folder === undefined && 'VECTORS_DIR names no folder of test vectors'

export function readVectors(...path: readonly string[]): Buffer {
  return readFileSync(join(folder ?? '', ...path))
}

export function readJson<Value>(...path: readonly string[]): Value {
  return JSON.parse(readVectors(...path).toString('utf8')) as Value
}

/** The files below a folder, in order, with their paths from there. */
export function vectorsIn(...path: readonly string[]): readonly string[] {
  return readdirSync(join(folder ?? '', ...path), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json'))
    .sort()
}

import { readFile } from 'node:fs/promises'
import { dirname, resolve as absolute } from 'node:path'
import type { Config } from './config.ts'
import { readEnvironment, reasonOf, secretReader, type Environment } from './environment.ts'
import { ConfigError, createFaults, type NoteRead, type Path, type Place } from './faults.ts'
import { overridden } from './overrides.ts'
import { mapping } from './parts.ts'
import { replaced, type OnVariable, type StandIn } from './replace.ts'
import { resolve } from './resolve.ts'
import { objectSource, yamlSource, type Source } from './source.ts'
import { checkShape } from './wording.ts'

export type { ConfigInput } from './schema.ts'

export interface LoadOptions {
  /** Default: the process's. */
  readonly environment?: Environment
  /**
   * What wins over the environment, by path: `{ 'server.listen': '127.0.0.1:0', 'routes[0].proxy.upstream': '…' }`.
   * For flags of commands.
   */
  readonly overrides?: Readonly<Record<string, unknown>>
  /** For commands that find out what a variable is to be. Default: one that is not set is a fault. */
  readonly standIn?: StandIn
  /** For commands that name variables in place of what they stand for. */
  readonly onVariable?: OnVariable
  /** For those who want to know when it is worth reading again. Called also where there are faults. */
  readonly noteRead?: NoteRead
}

/**
 * The configuration of a file, with the environment's values over it: flags come before real variables, these before
 * `.env` beside the file, then the file, then defaults. Files of secrets are read relative to the file's folder.
 *
 * @param file YAML; the name stands in messages as it is given
 * @throws {ConfigError} with every fault
 */
export async function loadConfig(file: string, options: LoadOptions = {}): Promise<Config> {
  const { noteRead = () => undefined } = options
  let text: string
  try {
    text = await readFile(file, 'utf8')
    noteRead(absolute(file), text)
  } catch (error) {
    noteRead(absolute(file), undefined)
    const message = `cannot be read: ${reasonOf(error)}`
    throw new ConfigError([{ place: { file }, path: '', message }])
  }
  const environment = readEnvironment(file, options.environment, noteRead)
  return read(yamlSource(text, file), { ...options, environment }, dirname(file))
}

/**
 * The configuration of an object of the file's shape, read in the same way: the environment comes before it, and
 * `${NAME}` in its strings is replaced. There is no `.env`; files of secrets are relative to the working folder.
 *
 * @throws {ConfigError} with every fault
 */
export function readConfig(input: object, options: LoadOptions = {}): Config {
  return read(objectSource(input), options, '.')
}

function read(source: Source, options: LoadOptions, folder: string): Config {
  const { environment = process.env, overrides: flags = {}, noteRead } = options
  const readSecret = secretReader(folder, noteRead)
  let { locate } = source
  const faults = createFaults((path, part) => locate(path, part), noteRead)
  for (const { place, message } of source.faults) faults.add([], message, { place })
  const isMapping = Object.keys(mapping(source.value)).length > 0
  if (!isMapping) faults.add([], 'the configuration must be a mapping, and not empty')
  if (!isMapping || !source.isReadable) faults.throwIfAny()

  const { value, placeOf } = overridden(source.value, { environment, flags, readSecret, faults })
  const isOverridden = (path: Path): boolean => placeOf(path) !== undefined
  const { standIn, onVariable } = options
  const secrets = { environment, readSecret, faults }
  const complete = replaced(value, { ...secrets, isOverridden, standIn, onVariable })
  locate = (path, part) =>
    placeOf(path) ?? withVariables(source.locate(path, part), complete.variablesAt(path))
  checkShape(complete.value, faults)
  return resolve(complete.value, faults, folder)
}

function withVariables(
  place: Place | undefined,
  variables: readonly string[] | undefined,
): Place | undefined {
  return place !== undefined && variables !== undefined && variables.length > 0
    ? { ...place, variables }
    : place
}

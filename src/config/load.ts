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
  /** Default: the process's environment. */
  readonly environment?: Environment
  /**
   * Values by path that override the environment: `{ 'server.listen': '127.0.0.1:0', 'routes[0].proxy.upstream': '…' }`.
   * For flags of commands.
   */
  readonly overrides?: Readonly<Record<string, unknown>>
  /** Supplies values for unset variables, for commands that find out what these should be. Default: they are faults. */
  readonly standIn?: StandIn
  /** For commands that show the names of variables instead of their values. */
  readonly onVariable?: OnVariable
  /** Called for each file that is read, also where there are faults: a change to one of them may call for a reload. */
  readonly noteRead?: NoteRead
}

/**
 * Reads the configuration from a file. In order of precedence, values come from flags, real variables, `.env` beside the
 * file, the file, and defaults. Paths of secrets are relative to the file's folder.
 *
 * @param file YAML. Messages name it as it is given
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
 * Reads the configuration from an object of the same shape as the file. The environment overrides it, and `${NAME}` in its
 * strings is replaced. Does NOT read `.env`. Paths of secrets are relative to the working folder.
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

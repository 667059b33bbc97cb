import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import type { NoteRead } from './faults.ts'

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * The variables that a command sees: those of `.env` beside the configuration file, overridden by the real ones. Does NOT
 * change the process's environment.
 *
 * @param file the configuration file; it need not exist
 */
export function readEnvironment(
  file: string,
  real: Environment = process.env,
  noteRead?: NoteRead,
): Environment {
  const beside = resolve(dirname(file), '.env')
  const text = readNoted(beside, noteRead, isMissing)
  if (text === undefined) return real
  // Undefined values are dropped: they would hide the variables of the file.
  const set = Object.entries(real).filter(([, value]) => value !== undefined)
  return { ...parseEnv(text), ...Object.fromEntries(set) }
}

/** Reads a mounted secret, without the last newline, which editors add. Paths start at the configuration's folder. */
export type ReadSecret = (path: string) => string

/** @throws {UnreadableError} */
export function secretReader(folder: string, noteRead?: NoteRead): ReadSecret {
  return (path) => {
    try {
      return readNoted(resolve(folder, path), noteRead).replace(/\r?\n$/, '')
    } catch (error) {
      throw new UnreadableError(path, error)
    }
  }
}

function readNoted(file: string, noteRead: NoteRead | undefined): string
function readNoted(
  file: string,
  noteRead: NoteRead | undefined,
  isMissing: (error: unknown) => boolean,
): string | undefined
function readNoted(
  file: string,
  noteRead: NoteRead = () => undefined,
  mayLack: (error: unknown) => boolean = () => false,
): string | undefined {
  try {
    const text = readFileSync(file, 'utf8')
    noteRead(file, text)
    return text
  } catch (error) {
    noteRead(file, undefined)
    if (mayLack(error)) return undefined
    throw error
  }
}

/** A file cannot be read. The message names the file and the reason. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError'

  constructor(path: string, cause: unknown) {
    super(`the file ${path} cannot be read: ${reasonOf(cause)}`, { cause })
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'there is no such folder',
}

export function reasonOf(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException
  return REASONS[code] ?? message
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ENOTDIR'
}

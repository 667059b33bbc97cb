import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import type { NoteRead } from './faults.ts'

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * The variables that a command sees: those of `.env` beside the configuration file, and the real ones, which win. The
 * process's own environment is left as it is.
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
  // A variable that is there but undefined would otherwise hide the one of the file.
  const set = Object.entries(real).filter(([, value]) => value !== undefined)
  return { ...parseEnv(text), ...Object.fromEntries(set) }
}

/** Reads a mounted secret: without the one newline that editors end files with. Relative to the configuration's folder. */
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

/** A file that cannot be read; its message says so without a stack. */
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

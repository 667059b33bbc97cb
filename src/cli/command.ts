/** One command of `behalf`: a file of this folder exports it as `command`, and is loaded only when it is called. */
export interface Command<Named extends Flags = Flags> {
  /** One sentence for `behalf COMMAND --help`. */
  readonly summary: string
  /** The positional arguments, for example `METHOD TARGET`. Default: none. */
  readonly positionals?: string
  /** Its own flags, beside `--config`, `--format` and `--help`. */
  readonly flags: Named
  /** The values of `--format`; the first is the default. Absent: the command has no `--format`. */
  readonly formats?: readonly [string, ...string[]]
  /** `none`: the command reads no file. It ignores `--config`, which its help does not mention. */
  readonly configuration?: 'none'
  /**
   * Resolves with the exit code: 0 well, 1 failed, 2 drift.
   *
   * @throws {ConfigError} becomes exit 78, {@link UsageError} 64, anything else 1
   */
  run(given: Given<Named>): Promise<number>
}

export interface Flag {
  readonly type: 'string' | 'boolean'
  /** The flag's meaning and default, for the help. */
  readonly summary: string
  /** The name of the value in the help, for example `URL`. */
  readonly value?: string
  /** The flag may be given several times. */
  readonly multiple?: true
}

export type Flags = Readonly<Record<string, Flag>>

/** The arguments of a command. */
export interface Given<Named extends Flags = Flags> {
  /** The configuration file. Default `behalf.yaml`. */
  readonly config: string
  /** One of the command's formats. */
  readonly format: string
  readonly flags: {
    readonly [Name in keyof Named]: Named[Name] extends { readonly multiple: true }
      ? readonly string[]
      : Named[Name]['type'] extends 'boolean'
        ? boolean
        : string | undefined
  }
  readonly positionals: readonly string[]
}

/** Returns the command, with the types of its flags inferred. */
export function defineCommand<const Named extends Flags>(command: Command<Named>): Command<Named> {
  return command
}

/** The command line is wrong: exit 64. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const EXIT = { well: 0, failed: 1, drift: 2, usage: 64, configuration: 78 } as const

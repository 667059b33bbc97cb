#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { ConfigError } from '../config/faults.ts'
import { nearest, suggestion } from '../config/nearest.ts'
import { EXIT, UsageError, type Command, type Flag, type Flags, type Given } from './command.ts'

interface Entry {
  readonly summary: string
  readonly load: () => Promise<{ readonly command: Command }>
}

/** Every command. Its module is loaded only when it is called, so that `version` does not wait for Express. */
const COMMANDS: Readonly<Record<string, Entry>> = {
  serve: { summary: 'run the gateway', load: () => import('./serve.ts') },
  check: { summary: 'check the configuration', load: () => import('./check.ts') },
  explain: {
    summary: 'show what each step would do with a request',
    load: () => import('./explain.ts'),
  },
  exchange: {
    summary: 'exchange one token, and show what happens',
    load: () => import('./exchange.ts'),
  },
  provision: {
    summary: 'list what the Auth0 tenant lacks, and set it up',
    load: () => import('./provision.ts'),
  },
  purge: {
    summary: 'make a running gateway forget issued tokens',
    load: () => import('./purge.ts'),
  },
  demo: {
    summary: 'run the gateway with a tenant and two services',
    load: () => import('./demo.ts'),
  },
  tenant: { summary: 'run the embedded Auth0-shaped tenant', load: () => import('./tenant.ts') },
  schema: {
    summary: 'print the JSON Schema of the configuration',
    load: () => import('./schema.ts'),
  },
  healthcheck: {
    summary: 'check that a running gateway is alive',
    load: () => import('./healthcheck.ts'),
  },
  version: { summary: 'print the version', load: () => import('./version.ts') },
}

/** `--config` and `--help` belong to every command. */
const COMMON: Flags = {
  config: { type: 'string', value: 'FILE', summary: 'configuration file (default behalf.yaml)' },
  help: { type: 'boolean', summary: 'print this help' },
}

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv
  if (name === undefined) {
    process.stderr.write(overview())
    return EXIT.usage
  }
  if (name === 'help' || name === '--help' || name === '-h') return help(rest[0])
  const command = await commandOf(name === '--version' || name === '-v' ? 'version' : name)
  const given = parse(command, rest)
  return given === 'help' ? help(name) : command.run(given)
}

async function commandOf(name: string): Promise<Command> {
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (entry === undefined) {
    const meant = suggestion(name, Object.keys(COMMANDS)) || '; `behalf help` lists them'
    throw new UsageError(`unknown command \`${name}\`${meant}`)
  }
  return (await entry.load()).command
}

function parse(command: Command, argv: readonly string[]): Given | 'help' {
  const flags = flagsOf(command)
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { type, multiple }]) => [
      name,
      { type, multiple: multiple ?? false },
    ]),
  )
  const { values, positionals } = parsed(argv, options)
  if (values['help'] === true) return 'help'
  if (command.positionals === undefined && positionals[0] !== undefined) {
    throw new UsageError(unexpected(positionals[0]))
  }
  const format = values['format'] ?? command.formats?.[0] ?? 'text'
  if (command.formats !== undefined && !command.formats.includes(String(format))) {
    throw new UsageError(`--format must be ${command.formats.join(' or ')}`)
  }
  const own = Object.entries(command.flags).map(([name, flag]) => [
    name,
    values[name] ?? absent(flag),
  ])
  return {
    config: String(values['config'] ?? 'behalf.yaml'),
    format: String(format),
    flags: Object.fromEntries(own) as Given['flags'],
    positionals,
  }
}

/** The value of a flag that was not given. */
function absent({ type, multiple }: Flag): false | undefined | readonly [] {
  if (multiple) return []
  return type === 'boolean' ? false : undefined
}

/** If the argument looks like a configuration file, the message suggests `--config`. */
function unexpected(argument: string): string {
  const hint = /\.(?:ya?ml|json)$/.test(argument) ? `, did you mean \`--config ${argument}\`?` : ''
  return `unexpected argument \`${argument}\`${hint}`
}

function flagsOf(command: Command): Flags {
  return {
    ...command.flags,
    ...(command.formats && { format: formatFlag(command.formats) }),
    ...COMMON,
  }
}

function formatFlag([first, ...others]: NonNullable<Command['formats']>): Flag {
  return others.length < 2
    ? { type: 'string', value: [first, ...others].join(' | '), summary: `default ${first}` }
    : { type: 'string', value: 'FORMAT', summary: `${first} (default), ${others.join(', ')}` }
}

interface Parsed {
  readonly values: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
  readonly positionals: readonly string[]
}

function parsed(
  argv: readonly string[],
  options: Readonly<
    Record<string, { readonly type: 'string' | 'boolean'; readonly multiple?: boolean }>
  >,
): Parsed {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true }) as Parsed
  } catch (error) {
    // Only Node's first sentence is about the mistake.
    const [sentence = ''] = (error as Error).message.split(/\. |\n/)
    const [, flag] = /'--([a-z-]+)'/.exec(sentence) ?? []
    const meant = flag === undefined ? undefined : nearest(flag, Object.keys(options))
    const unknown = (error as { code?: string }).code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION'
    const hint = unknown && meant !== undefined ? `, did you mean \`--${meant}\`?` : ''
    throw new UsageError(`${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}${hint}`)
  }
}

async function help(name: string | undefined): Promise<number> {
  process.stdout.write(name === undefined ? overview() : details(name, await commandOf(name)))
  return EXIT.well
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map(({ length }) => length))
  const lines = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`,
  )
  return [
    'Behalf, an On-Behalf-Of token-exchange gateway',
    '',
    'usage: behalf COMMAND [--config FILE] [flags]',
    '',
    ...lines,
    '',
    '`behalf COMMAND --help` describes a command. Exit codes: 0 success, 1 failure,',
    '2 drift, 64 wrong usage, 78 bad configuration.',
    '',
  ].join('\n')
}

function details(name: string, command: Command): string {
  const flags = Object.entries(flagsOf(command))
    .filter(([flag]) => flag !== 'config' || command.configuration !== 'none')
    .map(([flag, { value, summary }]) => ({
      text: value === undefined ? `--${flag}` : `--${flag} ${value}`,
      summary,
    }))
  const width = Math.max(...flags.map(({ text }) => text.length))
  const usage = ['behalf', name, command.positionals, '[flags]'].filter(Boolean).join(' ')
  return [
    `usage: ${usage}`,
    '',
    command.summary,
    '',
    ...flags.map(({ text, summary }) => `  ${text.padEnd(width)}  ${summary}`),
    '',
  ].join('\n')
}

/** Prints what went wrong. Only a defect is printed with its stack. */
function report(error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`behalf: ${error.message}\n`)
    return EXIT.usage
  }
  if (error instanceof ConfigError) {
    process.stderr.write(`${error.message}\n`)
    return EXIT.configuration
  }
  const foreseen = error instanceof Error && 'code' in error
  const text = error instanceof Error && !foreseen ? error.stack : String((error as Error).message)
  process.stderr.write(`behalf: ${text}\n`)
  return EXIT.failed
}

// The reader of a pipe may go first: `behalf schema | head -1`. Without this, Node ends with a stack.
process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  if (code !== 'EPIPE') process.stderr.write(`behalf: standard output: ${message}\n`)
  process.exit(EXIT.failed)
})

// Not process.exit(), which would lose output that a pipe has not taken yet.
process.exitCode = await main(process.argv.slice(2)).catch(report)

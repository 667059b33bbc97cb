import { z } from 'zod'
import { configurationSchema } from './schema.ts'
import {
  alternatives,
  below,
  configurationShape,
  isNamed,
  keysOf,
  takes,
  type Shape,
} from './shape.ts'

/** `${NAME}` may stand in the place of numbers and other values; an editor must not mark it as an error. */
const REPLACED = { type: 'string', pattern: String.raw`\$\{.+\}` } as const

/** `behalf.schema.json`: JSON Schema 2020-12 for editors (`# yaml-language-server: $schema=behalf.schema.json`). */
export function publishedSchema(): string {
  const schema = z.toJSONSchema(configurationSchema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      delete jsonSchema['kind']
      const { enum: values, type, description, default: fallback, ...rest } = jsonSchema
      if (isEmptyObject(fallback)) delete jsonSchema.default
      if (values === undefined && type !== 'boolean' && type !== 'number' && type !== 'integer') {
        return
      }
      const own = { ...rest, ...(type && { type }), ...(values && { enum: values }) }
      for (const key of Object.keys(jsonSchema)) delete jsonSchema[key]
      Object.assign(jsonSchema, {
        ...(description !== undefined && { description }),
        ...(fallback !== undefined && { default: fallback }),
        anyOf: [own, REPLACED],
      })
    },
  })
  return `${JSON.stringify(schema, null, 2)}\n`
}

const INTRODUCTION = `# Configuration

<!-- Made by \`behalf schema --format markdown\` from src/config/schema.ts; a test holds it up to date. -->

Behalf reads one YAML file: \`behalf.yaml\`, or the file that \`--config FILE\` names. \`behalf check\` reports every fault in
it as \`file:line:column\`; an unknown key is a fault. For completion in an editor, begin the file with

\`\`\`yaml
# yaml-language-server: $schema=./behalf.schema.json
\`\`\`

**Values.** Durations are written \`500ms\`, \`5s\`, \`10m\`, \`1h\` or \`7d\`; sizes \`64KiB\`, \`256MiB\`, \`1GiB\` or a number of
bytes. Inside strings, \`\${NAME}\` is replaced by an environment variable, \`\${NAME:-default}\` by the default if the variable
is unset or empty, and \`\${file:/run/secrets/x}\` by the content of a file without its last newline. If \`NAME\` is unset and
\`NAME_FILE\` is set, the file that \`NAME_FILE\` names is read. The text that was put in is not replaced again. Inside \`{ }\`
and \`[ ]\`, put such a string in quotes. Relative paths start at the folder of the configuration file.

**Environment.** A variable overrides an option of the file. Its name is \`BEHALF_\` and the path of the option, in upper case,
with two underscores between levels and one between words: \`BEHALF_SERVER__PUBLIC_ORIGIN\`,
\`BEHALF_ROUTES__0__PROXY__UPSTREAM\`, \`BEHALF_APIS__STOREFRONT__CLIENT__ID\`. Lists and mappings are given as JSON. For each
secret, the name with \`_FILE\` at its end gives the path of a file that holds the secret:
\`BEHALF_APIS__STOREFRONT__CLIENT__SECRET_FILE=/run/secrets/storefront\`. Variables without two underscores in a row are not
read as options. \`.env\` beside the configuration file is read, too; real environment variables take precedence over it.

**Precedence.** Flags come first, then the environment, then the file, then the defaults.
`

/** `docs/configuration.md`: every option, its type, its default and its meaning, in the order of the schema. Pure. */
export function configurationReference(): string {
  const sections = Object.entries(configurationShape().properties ?? {}).map(([name]) => {
    const shape = below(configurationShape(), name)!
    const rows = optionsBelow(name, shape).map(row)
    const table = [
      '| Option | Type | Default | Meaning |',
      '|---|---|---|---|',
      ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    ]
    return `## \`${name}\`\n\n${shape.description ?? ''}\n\n${table.join('\n')}\n`
  })
  return [INTRODUCTION, ...sections].join('\n')
}

interface Option {
  readonly path: string
  readonly shape: Shape
  readonly isRequired: boolean
}

/** All options below a path, named as in `issuers.NAME.issuer` and `routes[].match.path`. */
function optionsBelow(path: string, shape: Shape): readonly Option[] {
  if (isNamed(shape)) return optionsBelow(`${path}.NAME`, below(shape, 'NAME')!)
  if (takes(shape, 'array') && !takes(shape, 'string')) {
    const item = below(shape, 0)
    return item !== undefined && takes(item, 'object') ? optionsBelow(`${path}[]`, item) : []
  }
  return keysOf(shape).flatMap((key) => {
    const option = below(shape, key)!
    const at = `${path}.${key}`
    const isRequired = alternatives(shape).some(({ required }) => required?.includes(key))
    return [{ path: at, shape: option, isRequired }, ...optionsBelow(at, option)]
  })
}

function row({ path, shape, isRequired }: Option): readonly string[] {
  const cells = [
    `\`${path}\``,
    kindOf(shape),
    isRequired ? 'required' : defaultOf(shape),
    shape.description ?? '',
  ]
  return cells.map((cell) => cell.replaceAll('|', String.raw`\|`))
}

function kindOf(shape: Shape): string {
  const kind: unknown = shape['kind']
  if (typeof kind === 'string') return kind
  if (shape.writeOnly === true) return 'secret'
  if (shape.enum !== undefined) return shape.enum.map((value) => `\`${String(value)}\``).join(' | ')
  if (shape.anyOf !== undefined) {
    return [...new Set(alternatives(shape).map(kindOf))].join(' or ')
  }
  if (shape.type === 'array') return `list of ${plural(kindOf(below(shape, 0)!))}`
  return KINDS[String(shape.type)] ?? 'text'
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'mapping',
  number: 'number',
  integer: 'whole number',
  boolean: '`true` | `false`',
}

function plural(kind: string): string {
  return kind
    .split(/(, | or )/)
    .map((part, index) => (index % 2 === 1 || part.startsWith('`') ? part : `${part}s`))
    .join('')
}

function defaultOf(shape: Shape): string {
  const { default: value } = shape
  if (value === undefined || isEmptyObject(value)) return ''
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
}

function isEmptyObject(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).length === 0
  )
}

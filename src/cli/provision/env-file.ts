import { randomUUID } from 'node:crypto'
import { chmod, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'

/** Values by the names of variables. */
type Variables = Readonly<Record<string, string>>

/** The variables in a file; none if the file does not exist. */
export async function readEnvFile(file: string): Promise<Variables> {
  return parseEnv(await textOf(file)) as Variables
}

/**
 * Adds variables to a file that only its owner may read (0600). Variables that it has keep their values, unless they are
 * empty; all other lines stay as they are. The file is replaced at once: a reader sees the old one or the new one.
 *
 * @throws if the file cannot be written
 */
export async function writeEnvFile(file: string, variables: Variables): Promise<void> {
  const target = await realpath(file).catch(() => file)
  const old = await textOf(target)
  const text = withVariables(old, variables)
  if (text === old) {
    if (old !== '') await chmod(target, 0o600)
    return
  }
  const draft = `${target}.${randomUUID()}`
  try {
    await writeFile(draft, text, { mode: 0o600, flag: 'wx', flush: true })
    await rename(draft, target)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

/** The variables in the format of such a file. */
export function envText(variables: Variables): string {
  return withVariables('', variables)
}

function withVariables(old: string, variables: Variables): string {
  const there = parseEnv(old) as Variables
  let text = old === '' || old.endsWith('\n') ? old : `${old}\n`
  for (const [name, value] of Object.entries(variables)) {
    if (there[name] !== undefined && there[name] !== '') continue
    const line = `${name}=${quoted(name, value)}`
    const empty = new RegExp(`^(?:export )?${name}[ \\t]*=.*$`, 'm')
    text = empty.test(text) ? text.replace(empty, () => line) : `${text}${line}\n`
  }
  return text
}

/** The value in a kind of quotes that it does not contain: within them nothing is escaped, and lines may end. */
function quoted(name: string, value: string): string {
  for (const quote of ['', "'", '"', '`']) {
    const written = `${quote}${value}${quote}`
    if ((parseEnv(`${name}=${written}\nnext=1\n`) as Variables)[name] === value) return written
  }
  throw new TypeError(`the value of ${name} holds every kind of quote`)
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { UsageError } from './command.ts'

/** The token in the file of `--token-file`, or of another flag, without the newline that editors and shells add. */
export async function readToken(file: string, flag = '--token-file'): Promise<string> {
  const content = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8')).catch(
    (cause: unknown) => {
      throw new UsageError(`the file of ${flag} cannot be read`, { cause })
    },
  )
  return content.replace(/\r?\n$/, '')
}

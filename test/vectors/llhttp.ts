/** The fixtures of llhttp: Markdown, with bytes in a block `http` and what its parser said of them in a block `log`. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Fixture {
  /** The file and the headings above it. */
  readonly name: string
  /** How the parser was set, for example `request` or `response-lenient-all`. */
  readonly type: string
  readonly bytes: string
  /** How many messages the parser read to their end. */
  readonly complete: number
  /** Of how many it read the head, with a body that may go on. */
  readonly begun: number
}

export function readFixtures(folder: string): readonly Fixture[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .sort()
    .flatMap((file) => fixturesOf(file, readFileSync(join(folder, file), 'utf8')))
}

const CASE = /<!-- meta=(\{.*?\}) -->\s*```http\n([^]*?)```(?:(?!```)[^])*```log\n([^]*?)```/g

function fixturesOf(file: string, text: string): readonly Fixture[] {
  return Array.from(text.matchAll(CASE), ({ index, 1: meta = '{}', 2: http = '', 3: log = '' }) => {
    const { type } = JSON.parse(meta) as { readonly type: string }
    const heading =
      text
        .slice(0, index)
        .match(/^#+ .*$/gm)
        ?.at(-1) ?? ''
    return {
      name: `${file}: ${heading.replace(/^#+ /, '')}`,
      type,
      bytes: bytesOf(http),
      complete: log.match(/message complete/g)?.length ?? 0,
      begun: log.match(/headers complete/g)?.length ?? 0,
    }
  })
}

/** Its own notation: an escaped line end is none, every other one is CRLF, and odd bytes are escaped. */
function bytesOf(block: string): string {
  return block
    .replace(/\n$/, '')
    .replace(/\\\n/g, '')
    .replaceAll('\n', '\r\n')
    .replaceAll('\\r', '\r')
    .replaceAll('\\n', '\n')
    .replaceAll('\\t', '\t')
    .replaceAll('\\f', '\f')
    .replace(/\\x([0-9a-fA-F]+)/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    )
    .replace(/\\([0-7]{1,3})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 8)),
    )
}

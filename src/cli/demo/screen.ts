/** Writes the demonstration to a terminal. */
export interface Screen {
  heading(text: string): void
  /** A step begins: its number and what it shows. */
  step(number: number, title: string): void
  line(text?: string): void
  /** Something that went well, and how long it took. */
  good(text: string, milliseconds?: number): void
  bad(text: string): void
  note(text: string): void
  /** Names and values, below each other. */
  table(rows: readonly (readonly [name: string, value: string])[]): void
}

export interface ScreenOptions {
  readonly write: (text: string) => void
  /** Whether to use colours. */
  readonly isColourful: boolean
}

/** In columns: the narrowest usual terminal has 80. */
const WIDTH = 80
const NAME_WIDTH = 10
const INDENT = '    '

export function createScreen({ write, isColourful }: ScreenOptions): Screen {
  const paint = (code: number, text: string): string =>
    isColourful ? `\u001b[${code}m${text}\u001b[0m` : text
  const bold = (text: string): string => paint(1, text)
  const dim = (text: string): string => paint(2, text)
  const say = (text = ''): void => write(`${text}\n`)

  return {
    heading: (text) => say(bold(text)),
    step(number, title) {
      say()
      say(` ${paint(36, String(number))}  ${bold(title)}`)
    },
    line: say,
    good(text, milliseconds) {
      const took = milliseconds === undefined ? '' : `${milliseconds.toFixed(1)} ms`
      const gap = ' '.repeat(Math.max(1, WIDTH - INDENT.length - 2 - text.length - took.length))
      say(`${INDENT}${paint(32, '✓')} ${text}${took === '' ? '' : gap + dim(took)}`)
    },
    bad: (text) => say(`${INDENT}${paint(31, '✗')} ${text}`),
    note: (text) => say(`${INDENT}${dim(text)}`),
    table(rows) {
      for (const [name, value] of rows) say(`${INDENT}  ${dim(name.padEnd(NAME_WIDTH))}${value}`)
    },
  }
}

/** Whether to use colours: only on a terminal, and not if `NO_COLOR` is set (no-color.org). */
export function wantsColours(
  { isTTY = false }: { readonly isTTY?: boolean },
  { NO_COLOR: without = '' }: Readonly<Record<string, string | undefined>>,
): boolean {
  return isTTY && without === ''
}

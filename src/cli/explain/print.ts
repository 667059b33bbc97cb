import type { Verdict } from '../../authorize/authorize.ts'
import type { Explanation, Fact, Field, Refusal, Step } from '../../server/explain/report.ts'

/** In columns. */
const WIDTH = 100
const INDENT = '    '

interface Marks {
  readonly yes: string
  readonly no: string
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
}

/** The explanation as text for operators. */
export function text({ ok, request, steps }: Explanation, isColourful: boolean): string {
  const paint = (code: number) => (written: string) =>
    isColourful ? `\u001b[${code}m${written}\u001b[0m` : written
  const marks = { yes: paint(32)('✓'), no: paint(31)('✗'), bold: paint(1), dim: paint(2) }
  const { method, target, token } = request
  const reached = steps.filter(({ verdict }) => verdict !== 'not reached')
  const beyond = steps.flatMap((step) => (reached.includes(step) ? [] : [step.step]))
  const lines = [
    marks.bold(`${method} ${target}`),
    token === undefined ? 'without a token' : `with the token ${token}`,
    ...reached.flatMap((step) => ['', ...stepLines(step, marks)]),
    ...(beyond.length > 0 ? ['', marks.dim(`· not reached: ${beyond.join(', ')}`)] : []),
    '',
    ok ? 'it would reach its upstream' : 'it would be refused',
  ]
  return `${lines.join('\n')}\n`
}

function stepLines(step: Step, marks: Marks): readonly string[] {
  const { facts, conditions, form = [], key = [], refusal, verdict } = step
  return [
    `${verdict === 'passes' ? marks.yes : marks.no} ${marks.bold(step.step)}`,
    ...table(facts.map(factRow), marks),
    ...(conditions ? conditionLines(conditions, marks) : []),
    ...fieldLines('what is sent', form, marks),
    ...fieldLines('what the key is made of', key, marks),
    ...(refusal ? refusalLines(refusal, marks) : []),
  ]
}

function factRow({ name, value, wanted }: Fact): readonly [string, string] {
  return [name, wanted === undefined ? value : `${value}, wanted: ${wanted}`]
}

function conditionLines(conditions: readonly Verdict[], marks: Marks): readonly string[] {
  if (conditions.length === 0) return [`${INDENT}nothing is asked: any token of the API will do`]
  return conditions.flatMap(({ option, needs, found, holds }) => [
    `${INDENT}${holds ? marks.yes : marks.no} ${option}`,
    ...table(
      [
        ['needs', shown(needs)],
        ['found', found === undefined ? 'nothing' : shown(found)],
      ],
      marks,
      `${INDENT}  `,
    ),
  ])
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value
  const isWords = Array.isArray(value) && value.every((one) => typeof one === 'string')
  return isWords ? value.join(' ') || 'none' : JSON.stringify(value)
}

function fieldLines(heading: string, fields: readonly Field[], marks: Marks): readonly string[] {
  if (fields.length === 0) return []
  const rows = fields.map(({ name, value }) => [name, value] as const)
  return [`${INDENT}${heading}`, ...table(rows, marks, `${INDENT}  `)]
}

function refusalLines({ status, code, detail, remedy, cause }: Refusal, marks: Marks) {
  const causes: string[] = []
  for (let one: Cause | undefined = cause; one !== undefined; one = one.cause) {
    causes.push([one.name, one.code, one.message].filter(Boolean).join(': '))
  }
  return [
    ...wrapped(`${INDENT}→ `, marks.bold(`${status} ${code}`), detail),
    ...causes.flatMap((one) => wrapped(`${INDENT}  because of `, '', one)),
    ...wrapped(`${INDENT}  `, '', remedy),
  ]
}

interface Cause {
  readonly name?: string
  readonly code?: string
  readonly message?: string
  readonly cause?: Cause
}

function table(
  rows: readonly (readonly [string, string])[],
  { dim }: Marks,
  indent = INDENT,
): readonly string[] {
  const width = Math.max(0, ...rows.map(([name]) => name.length))
  return rows.flatMap(([name, value]) => {
    const [first = '', ...more] = broken(value, WIDTH - indent.length - width - 2)
    const below = ' '.repeat(indent.length + width + 2)
    return [`${indent}${dim(name.padEnd(width))}  ${first}`, ...more.map((one) => below + one)]
  })
}

/** `head` may contain colours, which do not count as columns. */
function wrapped(indent: string, head: string, words: string): readonly string[] {
  const start = head === '' ? '' : `${head}: `
  const columns = start.replace(/\u001b\[\d+m/g, '').length
  const [first = '', ...more] = broken(' '.repeat(columns) + words, WIDTH - indent.length)
  const below = ' '.repeat(indent.length)
  return [indent + start + first.slice(columns), ...more.map((one) => below + one)]
}

/** Breaks only at spaces; a word that is longer than a line stays whole, so that it can be copied. */
function broken(words: string, width: number): readonly string[] {
  const [indent = ''] = /^ */.exec(words) ?? []
  const lines: string[] = []
  let line = indent
  for (const word of words.slice(indent.length).split(' ')) {
    const isFull = line.trim() !== '' && line.length + 1 + word.length > width
    if (isFull) {
      lines.push(line)
      line = word
    } else {
      line += line.trim() === '' ? word : ` ${word}`
    }
  }
  return [...lines, line]
}

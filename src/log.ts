import { createHmac, randomBytes } from 'node:crypto'
import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino'

export type { Logger } from 'pino'

export const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] as const
export type Level = (typeof LEVELS)[number]

export interface Log {
  /** Events: JSON lines. */
  readonly logger: Logger
  /**
   * Writes one finished line. The access line is assembled as a string and written here: a pino object per request
   * costs a quarter of what proxying it does.
   */
  readonly line: (json: string) => void
  /** Writes what is buffered, at once. */
  readonly flush: () => void
}

export interface LogOptions {
  /** Default `info`. */
  readonly level?: Level
  /** Default: standard output, buffered for at most a quarter of a second. */
  readonly destination?: DestinationStream
}

const FLUSH_EVERY_MS = 250

export function createLog({ level = 'info', destination }: LogOptions = {}): Log {
  const buffered = destination ? undefined : pino.destination({ sync: false, minLength: 8_192 })
  const stream = destination ?? buffered!
  if (buffered) setInterval(() => buffered.flush(), FLUSH_EVERY_MS).unref()
  const write = (json: string): void => {
    stream.write(json + '\n')
  }
  const logger = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError },
    },
    stream,
  )
  return {
    logger,
    line: level === 'silent' ? () => undefined : write,
    // A stream that has not opened yet cannot be flushed synchronously; the interval will get to it.
    flush: () => {
      try {
        buffered?.flushSync()
      } catch {
        buffered?.flush()
      }
    },
  }
}

/** A log of nothing. */
export const silentLog: Log = createLog({
  level: 'silent',
  destination: { write: () => undefined },
})

interface ErrorDescription {
  readonly name: string
  readonly message: string
  readonly code?: string
  readonly stack?: string
  readonly cause?: ErrorDescription
}

/**
 * What a log may hold of an error: names, codes and masked texts, through the chain of causes. Never an error's other
 * properties: libraries hang whole responses, claims and requests on them.
 */
export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) return { name: typeof error, message: primitiveText(error) }
  const code = 'code' in error && typeof error.code === 'string' ? { code: masked(error.code) } : {}
  const expected = 'status' in error
  return {
    name: masked(error.name),
    message: masked(error.message),
    ...code,
    ...(error.stack && !expected && depth === 0 ? { stack: masked(error.stack, 2_048) } : {}),
    ...(error.cause instanceof Error && depth < 4
      ? { cause: describeError(error.cause, depth + 1) }
      : {}),
  }
}

/** An object that was thrown is its properties, and those are not told. */
function primitiveText(thrown: unknown): string {
  const whole = typeof thrown === 'object' ? thrown !== null : typeof thrown === 'function'
  return whole ? 'something that is no error was thrown' : masked(String(thrown))
}

// With `%`, because forms and URLs spell some of these characters so.
const TOKEN_SHAPED = /[\w~+/=%-]{8,}(?:\.[\w~+/=%-]*){2,}|[\w~+/=%-]{40,}/g
const TOKEN_CHARACTER = /[\w~+/=%.-]/

/** Text from elsewhere, cut, without control characters and without anything that is shaped like a token. */
export function masked(text: string, length = 512): string {
  const clear = wholeWords(text, length * 4).replace(TOKEN_SHAPED, '[masked]')
  return clear.replace(/[\x00-\x09\x0b-\x1f\x7f]/g, ' ').slice(0, length)
}

/** Cut where no token is cut in two: what is left of one may be too short to be told from a word. */
function wholeWords(text: string, length: number): string {
  if (text.length <= length) return text
  let end = length
  while (end > 0 && TOKEN_CHARACTER.test(text[end]!) && TOKEN_CHARACTER.test(text[end - 1]!)) end--
  return `${text.slice(0, end)}${end < length ? '[masked]' : ''}`
}

const fingerprintKey = randomBytes(32)

/** Eight hexadecimal digits that tell tokens apart in this process's log, and are of no use anywhere else. */
export function fingerprint(token: string): string {
  return createHmac('sha256', fingerprintKey).update(token).digest('hex').slice(0, 8)
}

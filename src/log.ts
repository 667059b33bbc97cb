import { createHmac, randomBytes } from 'node:crypto'
import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino'

export type { Logger } from 'pino'

export const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] as const
export type Level = (typeof LEVELS)[number]

export interface Log {
  /** Writes events, as lines of JSON. */
  readonly logger: Logger
  /**
   * Writes one finished line. The access line is assembled as a string and written here, because a pino object per request
   * costs a quarter as much as proxying the request.
   */
  readonly line: (json: string) => void
  /** Writes all buffered lines at once. */
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
  const output = destination === undefined ? standardOutput() : { stream: destination, flush() {} }
  const { stream } = output
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
  const line = (json: string): void => stream.write(json + '\n')
  return { logger, line: level === 'silent' ? () => undefined : line, flush: output.flush }
}

interface Output {
  readonly stream: DestinationStream
  readonly flush: () => void
}

const BATCH_BYTES = 65_536
/** Lines beyond this backlog are dropped, or else a reader that has stopped would stop the gateway. */
const LARGEST_BACKLOG_BYTES = 64 * 1_048_576
/** The most bytes of UTF-8 that one UTF-16 code unit becomes. */
const MOST_BYTES_A_CHARACTER = 3

/**
 * Standard output in batches. Each line is copied into a buffer at once, because a string that is joined from hundreds of
 * lines costs ten times as much when it is finally written.
 */
function standardOutput(): Output {
  const destination = pino.destination({
    sync: false,
    contentMode: 'buffer',
    maxWrite: 16 * BATCH_BYTES,
    maxLength: LARGEST_BACKLOG_BYTES,
  })
  // With `contentMode: buffer` the destination takes only bytes, although its type names only strings.
  const send = destination.write.bind(destination) as unknown as (bytes: Buffer) => void
  let batch = Buffer.allocUnsafe(BATCH_BYTES)
  let filled = 0

  function pass(): void {
    if (filled === 0) return
    send(batch.subarray(0, filled))
    batch = Buffer.allocUnsafe(BATCH_BYTES)
    filled = 0
  }

  function write(line: string): void {
    if (line.length * MOST_BYTES_A_CHARACTER > BATCH_BYTES - filled) pass()
    if (line.length * MOST_BYTES_A_CHARACTER > BATCH_BYTES) {
      send(Buffer.from(line))
      return
    }
    filled += batch.write(line, filled)
  }

  function flush(): void {
    pass()
    try {
      destination.flushSync()
    } catch {
      // The destination is not open yet: it writes its backlog once it is.
      destination.flush()
    }
  }

  setInterval(pass, FLUSH_EVERY_MS).unref()
  return { stream: { write }, flush }
}

interface ErrorDescription {
  readonly name: string
  readonly message: string
  readonly code?: string
  readonly stack?: string
  readonly cause?: ErrorDescription
}

/**
 * The parts of an error that may be logged: names, codes and masked texts, through the chain of causes. Does NOT include any
 * other property, because libraries attach whole responses, claims and requests to their errors.
 */
export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) return { name: typeof error, message: primitiveText(error) }
  const code = 'code' in error && typeof error.code === 'string' ? { code: masked(error.code) } : {}
  const expected = 'status' in error
  return {
    name: masked(error.name),
    message: masked(error.message),
    ...code,
    ...(error.stack && !expected && depth === 0
      ? { stack: masked(withoutFolders(error.stack), 2_048) }
      : {}),
    ...(error.cause instanceof Error && depth < 4
      ? { cause: describeError(error.cause, depth + 1) }
      : {}),
  }
}

/** Removes folders: long paths would be masked as tokens, and the log need not tell where the gateway is installed. */
function withoutFolders(stack: string): string {
  return stack.replace(/(?:file:\/\/)?\/[^\s()]*\//g, '')
}

/** The text of a primitive that was thrown. An object's properties are not logged, whether or not it is an error. */
function primitiveText(thrown: unknown): string {
  const whole = typeof thrown === 'object' ? thrown !== null : typeof thrown === 'function'
  return whole ? 'something that is no error was thrown' : masked(String(thrown))
}

// With `%`, because forms and URLs percent-encode some of these characters.
const TOKEN_SHAPED = /[\w~+/=%-]{8,}(?:\.[\w~+/=%-]*){2,}|[\w~+/=%-]{40,}/g
const TOKEN_CHARACTER = /[\w~+/=%.-]/

/** Text from elsewhere, fit for the log: cut, without control characters, and with everything shaped like a token masked. */
export function masked(text: string, length = 512): string {
  const clear = wholeWords(text, length * 4).replace(TOKEN_SHAPED, '[masked]')
  return clear.replace(/[\x00-\x09\x0b-\x1f\x7f]/g, ' ').slice(0, length)
}

/** Cuts outside of tokens: the first part of a token may be too short to be recognised and masked. */
function wholeWords(text: string, length: number): string {
  if (text.length <= length) return text
  let end = length
  while (end > 0 && TOKEN_CHARACTER.test(text[end]!) && TOKEN_CHARACTER.test(text[end - 1]!)) end--
  return `${text.slice(0, end)}${end < length ? '[masked]' : ''}`
}

let fingerprintKey: Uint8Array = randomBytes(32)

/** The key of this process's fingerprints, for another process that writes to the same log. */
export function fingerprintsKey(): Uint8Array {
  return fingerprintKey
}

/** Takes another process's key. Must be called before the first fingerprint is made. */
export function shareFingerprints(key: Uint8Array): void {
  fingerprintKey = key
}

/** Eight hexadecimal digits that tell tokens apart in the log of this process. Without its key they are of no use. */
export function fingerprint(token: string): string {
  return createHmac('sha256', fingerprintKey).update(token).digest('hex').slice(0, 8)
}

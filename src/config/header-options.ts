import { z } from 'zod'
import { requestHeaderProblem, responseHeaderProblem } from './header-names.ts'
import { checked } from './values.ts'

type Problem = (name: string) => string | undefined

/** A header name with only characters that every server reads alike. */
function headerName(problem: Problem) {
  return checked('name', (written) =>
    /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/.test(written)
      ? problem(written)
      : 'must be the name of a header, of letters, digits and `-`',
  )
}

/** RFC 9110, section 5.5. Servers disagree about other characters, and about spaces at either end. */
function valueProblem(written: string): string | undefined {
  return /^[\x21-\x7e](?:[\x20-\x7e]{0,2046}[\x21-\x7e])?$/.test(written)
    ? undefined
    : 'must be visible ASCII characters, with spaces only between them'
}

function constantProblem(written: string): string | undefined {
  return written.includes('{claims.')
    ? 'must hold no claim: answers may be kept and given to others'
    : valueProblem(written)
}

function templateProblem(written: string): string | undefined {
  const problem = valueProblem(written)
  if (problem !== undefined) return problem
  const text = written.replace(/\{claims\.[^{}]+\}/, '')
  if (/\{claims\./.test(text)) {
    return 'must hold one claim at most: where two meet, one could pass for the other. Set two headers'
  }
  return /[{}]/.test(text) ? 'must hold braces only around a claim: `{claims.sub}`' : undefined
}

const removed = (problem: Problem) =>
  z
    .array(headerName(problem))
    .max(50)
    .refine((names) => new Set(names.map((name) => name.toLowerCase())).size === names.length, {
      message: 'must not repeat a name',
    })
    .prefault([])

/** Upstreams limit the number of headers, and get these in addition to the caller's. */
const few = (values: Readonly<Record<string, string>>): boolean => Object.keys(values).length <= 50
const TOO_MANY = 'must hold at most 50 headers'

export const headers = z
  .strictObject({
    set: z
      .record(headerName(requestHeaderProblem), checked('text', templateProblem))
      .refine(few, TOO_MANY)
      .prefault({})
      .describe(
        "Headers of the request that are Behalf's to say: every spelling of the name is taken from the caller first. " +
          "`{claims.sub}` stands for a claim of the subject token; without that claim the header is left out. A list's " +
          'entries are joined by commas; what cannot stand in a header in one meaning is refused with 403 ' +
          '`not_permitted`. Dots lead into objects (`{claims.act.sub}`), except in a name that holds a slash.',
      ),
    remove: removed(requestHeaderProblem).describe(
      'Headers that the caller cannot send to the upstream, in any spelling.',
    ),
    response: z
      .strictObject({
        set: z
          .record(headerName(responseHeaderProblem), checked('text', constantProblem))
          .refine(few, TOO_MANY)
          .prefault({})
          .describe("Headers of the answer, in place of the upstream's."),
        remove: removed(responseHeaderProblem).describe(
          'Headers of the upstream that the caller does not get.',
        ),
      })
      .prefault({})
      .describe(
        "What is changed of the upstream's answers. Errors of Behalf's own stay as they are.",
      ),
  })
  .prefault({})
  .describe(
    'What is changed of headers. Those that concern the connection, credentials, forwarding and the request id cannot be.',
  )

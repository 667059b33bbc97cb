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
        "Headers to set on the request to the upstream. The caller's headers of the same name, in every spelling, are " +
          'removed first. `{claims.sub}` stands for a claim of the subject token; if the token lacks it, the header is ' +
          'left out. The entries of a list are joined by commas; a value that a header cannot carry unambiguously is ' +
          'refused with 403 `not_permitted`. Dots lead into objects (`{claims.act.sub}`), except in a name that contains ' +
          'a slash.',
      ),
    remove: removed(requestHeaderProblem).describe(
      'Request headers of the caller to remove, in every spelling, before the request goes to the upstream.',
    ),
    response: z
      .strictObject({
        set: z
          .record(headerName(responseHeaderProblem), checked('text', constantProblem))
          .refine(few, TOO_MANY)
          .prefault({})
          .describe("Headers to set on the answer, in place of the upstream's."),
        remove: removed(responseHeaderProblem).describe(
          "Headers to remove from the upstream's answer.",
        ),
      })
      .prefault({})
      .describe(
        "Changes to the upstream's answers. The gateway's own error answers are not changed.",
      ),
  })
  .prefault({})
  .describe(
    'Changes to headers. Headers that concern the connection, credentials, forwarding or the request id cannot be ' +
      'changed.',
  )

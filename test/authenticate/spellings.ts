/** The many ways to write one token, for readers that are lenient. */

/** Characters that lenient decoders skip, pad with or take for others, and some that end a header or a line. */
const SKIPPED = [
  ' ',
  '\t',
  '\n',
  '\r',
  '=',
  '==',
  '\0',
  '%20',
  '\u00a0',
  '\u{feff}',
  ',',
  '"',
  '+',
  '/',
  '%',
  '\x7f',
]

/** All that are not the token itself. */
export function respellings(token: string): Set<string> {
  const spellings = new Set<string>()
  for (const character of SKIPPED) {
    for (let at = 0; at <= token.length; at++) {
      spellings.add(token.slice(0, at) + character + token.slice(at))
    }
  }
  const parts = token.split('.')
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  for (const [index, part] of parts.entries()) {
    const bytes = Buffer.from(part, 'base64url')
    for (const last of alphabet) {
      const respelled = part.slice(0, -1) + last
      if (respelled !== part && Buffer.from(respelled, 'base64url').equals(bytes)) {
        spellings.add(parts.with(index, respelled).join('.'))
      }
    }
    spellings.add(parts.with(index, bytes.toString('base64')).join('.'))
    spellings.add(parts.with(index, part.padEnd(Math.ceil(part.length / 4) * 4, '=')).join('.'))
    // One character more holds six bits that no byte has.
    if (part.length % 4 === 0) spellings.add(parts.with(index, `${part}A`).join('.'))
    spellings.add(parts.with(index, `${part}.`).join('.'))
  }
  spellings.delete(token)
  return spellings
}

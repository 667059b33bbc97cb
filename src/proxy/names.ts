/** How many names are remembered, each at a place computed from its bytes; a new one replaces the old. A power of two. */
const PLACES = 256
const LONGEST = 40

interface Known {
  readonly bytes: Uint8Array
  readonly name: string
}

const known = new Array<Known | undefined>(PLACES).fill(undefined)

/**
 * The name of a header line as it was sent. Upstreams send the same few names with every answer: comparing the bytes costs a
 * fifth of decoding them and hashing the string for its look-up. For other names nothing is gained or lost.
 */
export function nameOf(bytes: Uint8Array): string {
  const { length } = bytes
  const place = (bytes[0]! + 31 * bytes[length - 1]! + 7 * length) & (PLACES - 1)
  const before = known[place]
  if (before !== undefined && isSame(before.bytes, bytes)) return before.name
  const name = Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1')
  // A copy: `Buffer.slice` would share its memory, which holds another answer next.
  if (length <= LONGEST) known[place] = { bytes: Uint8Array.from(bytes), name }
  return name
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  const { length } = one
  if (length !== other.length) return false
  for (let index = 0; index < length; index++) if (one[index] !== other[index]) return false
  return true
}

/** How many are remembered: each by a place of its own, which the last one that belongs there has. A power of two. */
const PLACES = 256
const LONGEST = 40

interface Known {
  readonly bytes: Uint8Array
  readonly name: string
}

const known = new Array<Known | undefined>(PLACES).fill(undefined)

/**
 * The name of a header line as it was sent. Upstreams send the same few with every answer: looking at the bytes costs a
 * fifth of making a text of them, and its hash for whoever looks that up. Who sends others gains what there was without it.
 */
export function nameOf(bytes: Uint8Array): string {
  const { length } = bytes
  const place = (bytes[0]! + 31 * bytes[length - 1]! + 7 * length) & (PLACES - 1)
  const before = known[place]
  if (before !== undefined && isSame(before.bytes, bytes)) return before.name
  const name = Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1')
  // A copy: what `slice` makes of a Buffer is the same memory, which is another answer's next.
  if (length <= LONGEST) known[place] = { bytes: Uint8Array.from(bytes), name }
  return name
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  const { length } = one
  if (length !== other.length) return false
  for (let index = 0; index < length; index++) if (one[index] !== other[index]) return false
  return true
}

const MILLISECONDS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const BYTES = { '': 1, KiB: 1_024, MiB: 1_048_576, GiB: 1_073_741_824 } as const

/** `500ms`, `1.5s`, `10m`, `1h`, `7d` in milliseconds; undefined for anything else, and for parts of a millisecond. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text) ?? []
  return whole(amount, MILLISECONDS[unit as keyof typeof MILLISECONDS])
}

/** `64KiB`, `256MiB`, `1GiB` or plain bytes, in bytes; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const [, amount, unit] = /^(\d{1,15}(?:\.\d{1,3})?)(KiB|MiB|GiB|)$/.exec(text) ?? []
  return whole(amount, BYTES[unit as keyof typeof BYTES])
}

function whole(amount: string | undefined, factor: number): number | undefined {
  if (amount === undefined) return undefined
  const product = Number(amount) * factor
  // Rounded, because 1.1 s is 1100.0000000000002 ms in floating point.
  const rounded = Math.round(product)
  return Math.abs(product - rounded) < 1e-6 && Number.isSafeInteger(rounded) ? rounded : undefined
}

/** The shortest spelling that `parseDuration` reads back, for example `90s` or `1h`. */
export function durationText(ms: number): string {
  const units = Object.entries(MILLISECONDS).reverse()
  const [unit, factor] = units.find(([, size]) => ms >= size && ms % size === 0) ?? ['ms', 1]
  return `${ms / factor}${unit}`
}

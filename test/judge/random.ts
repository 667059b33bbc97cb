/** Choices that a seed repeats: the same for one number of one seed, whoever asks and whenever. */
export interface Random {
  /** Of 0 to `count` - 1. */
  below(count: number): number
  /** True once in so many times. */
  oneIn(count: number): boolean
}

/** SplitMix32, started from the seed and the number of the request. */
export function random(seed: number, number: number): Random {
  let state = (seed ^ Math.imul(number + 1, 0x9e3779b9)) >>> 0
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    return (mixed ^ (mixed >>> 15)) >>> 0
  }
  const below = (count: number): number => next() % count
  return { below, oneIn: (count) => below(count) === 0 }
}

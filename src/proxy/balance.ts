/** Chooses the upstream of each request, and learns what became of it. */
export interface Balance<Place> {
  /** The next upstream; where there are others, not `instead`. */
  next(instead?: Place): Place
  /** The upstream could not be reached, did not answer, or said that it cannot for now. */
  failed(place: Place): void
  served(place: Place): void
  /** How many upstreams are passed over now. */
  paused(): number
}

/** Failures in a row until an upstream pauses. */
const FAILURES = 3
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000

interface Seat<Place> {
  readonly place: Place
  readonly weight: number
  /** Each turn adds its weight. The upstream that is owed most is next, and pays the sum of all weights. */
  owed: number
  failures: number
  pauses: number
  /** In epoch milliseconds; 0 while it has no pause. */
  pausedUntil: number
}

/**
 * Takes the upstreams in turns, by weight, evenly mixed. One that fails three times in a row pauses; one that fails again
 * right after its pause pauses twice as long. When all of them pause, all take part, because some may have recovered. An
 * only upstream never pauses.
 *
 * @param began called for each upstream that begins to pause
 */
export function createBalance<Place extends { readonly weight: number }>(
  places: readonly Place[],
  began: () => void = () => undefined,
): Balance<Place> {
  const [only] = places
  if (only === undefined) throw new TypeError('there must be an upstream')
  if (places.length === 1) {
    const nothing = (): void => undefined
    return { next: () => only, failed: nothing, served: nothing, paused: () => 0 }
  }
  const seats = places.map((place): Seat<Place> => {
    return { place, weight: place.weight, owed: 0, failures: 0, pauses: 0, pausedUntil: 0 }
  })
  const seatOf = new Map(seats.map((seat) => [seat.place, seat]))

  return {
    next(instead) {
      const now = Date.now()
      const willing = seats.filter((seat) => seat.pausedUntil <= now)
      const choice = willing.length > 0 ? willing : seats
      const others = choice.filter((seat) => seat.place !== instead)
      return turn(others.length > 0 ? others : choice).place
    },
    failed(place) {
      const seat = seatOf.get(place)!
      if (++seat.failures < FAILURES) return
      const now = Date.now()
      // Requests that were under way when the pause began fail as well; that is no news.
      if (seat.pausedUntil > now) return
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** seat.pauses++, LONGEST_PAUSE_MS)
      // Jitter: replicas that saw the same failure do not come back at the same moment.
      seat.pausedUntil = now + pause * (0.9 + Math.random() * 0.2)
      began()
    },
    served(place) {
      const seat = seatOf.get(place)!
      if (seat.failures === 0) return
      seat.failures = 0
      seat.pauses = 0
      seat.pausedUntil = 0
    },
    paused() {
      const now = Date.now()
      return seats.filter((seat) => seat.pausedUntil > now).length
    },
  }
}

function turn<Place>(seats: readonly Seat<Place>[]): Seat<Place> {
  let next = seats[0]!
  let weights = 0
  for (const seat of seats) {
    seat.owed += seat.weight
    weights += seat.weight
    if (seat.owed > next.owed) next = seat
  }
  next.owed -= weights
  return next
}

import type { z } from 'zod'
import type { EndpointsConfig, Listen } from './config.ts'
import type { endpoints } from './endpoint-options.ts'
import type { Faults, Path } from './faults.ts'

type EndpointsInput = z.output<typeof endpoints>

export function resolveEndpoints(input: EndpointsInput): EndpointsConfig {
  return { forwardAuth: input.forwardAuth }
}

/** A listener, by where it is configured. */
export interface Listening {
  readonly at: Path
  readonly listen: Listen | undefined
}

/** Of two listeners with one address the second could not be had. */
export function refuseRepeatedListeners(listeners: readonly Listening[], faults: Faults): void {
  const owners = new Map<string, Path>()
  for (const { at, listen } of listeners) {
    if (listen === undefined || listen.port === 0) continue
    const address = JSON.stringify([listen.host, listen.port])
    const owner = owners.get(address)
    if (owner !== undefined) faults.add(at, `repeats \`${owner.join('.')}\``)
    else owners.set(address, at)
  }
}

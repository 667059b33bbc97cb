import type { Config } from '../config/config.ts'
import { compose, type Composed, type ComposeOptions } from './compose.ts'
import { inherit } from './inherit.ts'
import { createLasting } from './lasting.ts'

/** The configuration in force, and former ones that requests still use. */
export interface Live {
  readonly config: Config
  /** To be read once for each request, when it arrives: the request uses that one to its end. */
  readonly composed: Composed
  /**
   * Replaces the configuration, as a whole and at once. Caches and connections stay as far as both want the same. The former
   * one is closed when the last request that it let in has ended.
   *
   * @throws {Error} the gateway cannot be put together from it; then nothing has changed
   */
  swap(config: Config): Promise<void>
  /** Closes all WebSockets by a close frame, those of former configurations as well. */
  leave(): Promise<void>
  close(): Promise<void>
}

export type LiveOptions = Omit<ComposeOptions, 'lease'>

export function createLive(first: Config, options: LiveOptions): Live {
  const lasting = createLasting()
  const retiring = new Set<Composed>()
  let closed = false
  options.metrics.sampled(
    'behalf_configurations_retiring',
    'Former configurations that requests or WebSockets still go on with.',
    () => retiring.size,
  )

  function made(config: Config): Composed {
    const lease = lasting.lease()
    try {
      return compose(config, { ...options, lease })
    } catch (error) {
      void lease.release()
      throw error
    }
  }

  async function retire(composed: Composed): Promise<void> {
    retiring.add(composed)
    try {
      await composed.retire()
    } catch (error) {
      options.log.logger.warn({ error }, 'what a former configuration used was not closed well')
    } finally {
      retiring.delete(composed)
    }
  }

  const live = {
    config: first,
    composed: made(first),
    async swap(config: Config) {
      inherit(config, live.config)
      const next = made(config)
      await next.started
      if (closed) {
        await next.close()
        throw new Error('the gateway has ended')
      }
      const before = live.composed
      live.config = config
      live.composed = next
      void retire(before)
    },
    leave: () => live.composed.leave(),
    async close() {
      closed = true
      await Promise.all(Array.from([live.composed, ...retiring], (one) => one.close()))
    },
  }
  return live
}

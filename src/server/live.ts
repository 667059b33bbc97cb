import type { Config } from '../config/config.ts'
import { compose, type Composed, type ComposeOptions } from './compose.ts'
import { inherit } from './inherit.ts'
import { createLasting } from './lasting.ts'

/** The configuration in force, and those before it that are not over. */
export interface Live {
  readonly config: Config
  /** Read once for each request, at the top of its path: it goes on with that one to its end. */
  readonly composed: Composed
  /**
   * Puts another in its place, as a whole and at once. What is kept and connected stays as far as both want the same. The one
   * before it goes when the last request has ended that it let in.
   *
   * @throws {Error} it cannot be put together; then nothing has changed
   */
  swap(config: Config): Promise<void>
  /** Of all of them. */
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

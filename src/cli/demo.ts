import { defineCommand, EXIT } from './command.ts'
import { CONFIGURATION, startCast, type Cast } from './demo/cast.ts'
import { createScreen, wantsColours, type Screen } from './demo/screen.ts'
import { StepFailed, walk } from './demo/walk.ts'
import { signalled } from './signals.ts'
import { tokenCommand } from './token-command.ts'

/** The whole path on one machine, walked once, then left running. */
export const command = defineCommand({
  summary: 'Start a tenant, two services and the gateway, and show the path of a request.',
  configuration: 'none',
  flags: {
    once: { type: 'boolean', summary: 'end after the walk: exit 0 if every step held, else 1' },
  },
  async run({ flags: { once } }) {
    const write = (text: string): void => void process.stdout.write(text)
    const isColourful = wantsColours(process.stdout, process.env)
    const screen = createScreen({ write, isColourful })
    const ended = signalled()
    // During the walk the gateway's log is not shown; afterwards it is.
    let log = (_line: string): void => undefined
    const cast = await startCast((line) => log(line))
    try {
      introduce(cast, screen)
      const outcome = await Promise.race([walked(cast, screen), ended.then(() => 'ended' as const)])
      if (outcome instanceof StepFailed) {
        screen.bad(outcome.message)
        return EXIT.failed
      }
      if (once) return outcome === 'held' ? EXIT.well : EXIT.failed
      if (outcome === 'ended') return EXIT.well
      invite(cast, screen)
      log = write
      await ended
      return EXIT.well
    } finally {
      await cast.close()
    }
  },
})

/** Returns a failed step without printing it, because a step that Ctrl-C interrupted has not failed. */
async function walked(cast: Cast, screen: Screen): Promise<'held' | StepFailed> {
  const startedAt = performance.now()
  try {
    await walk(cast, screen)
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error
    return error
  }
  screen.line()
  screen.heading(`Every step held. ${Math.round(performance.now() - startedAt)} ms in all.`)
  return 'held'
}

function introduce(
  { tenant, orders, inventory, gateway, isElsewhere }: Cast,
  screen: Screen,
): void {
  screen.heading('Behalf, an On-Behalf-Of token-exchange gateway: the whole path on this machine')
  screen.line()
  screen.table([
    ['tenant', `${tenant.url.padEnd(25)}an Auth0-shaped authorization server`],
    ['gateway', `${gateway.origin.padEnd(25)}on ${CONFIGURATION}`],
    ['orders', `${orders.origin.padEnd(25)}a service that shows what it received`],
    ['inventory', `${inventory.origin.padEnd(25)}another`],
  ])
  if (isElsewhere) screen.note('Some of the usual ports are taken: these are others.')
}

/** Command lines that work as pasted. */
function invite({ tenant, gateway }: Cast, screen: Screen): void {
  screen.line()
  screen.line('Now you. A token for Alice:')
  screen.line()
  const [first = '', ...rest] = tokenCommand(tenant.url)
  const last = rest.pop() ?? ''
  for (const line of [`TOKEN=$(${first}`, ...rest, `${last} \\`]) screen.line(`  ${line}`)
  screen.line(`    | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`)
  screen.line()
  screen.line('What the services receive for it, and what the gateway counted:')
  screen.line()
  screen.line(`  curl -i -H "Authorization: Bearer $TOKEN" ${gateway.origin}/orders`)
  screen.line(`  curl -i -H "Authorization: Bearer $TOKEN" ${gateway.origin}/inventory`)
  screen.line(`  curl -s ${gateway.adminOrigin}/metrics`)
  screen.line()
  screen.line("The gateway's access log follows. Ctrl-C ends it all.")
  screen.line()
}

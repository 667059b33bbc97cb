import { USUAL_LIMIT, type Limit } from '../tenant/limiter.ts'
import { ListenError } from '../tenant/listen.ts'
import { createTenant, type Tenant } from '../tenant/tenant.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { signalled } from './signals.ts'
import { tokenCommand } from './token-command.ts'

const DEFAULT_LISTEN = '127.0.0.1:9400'

/** The embedded tenant by itself, for whoever develops against it. */
export const command = defineCommand({
  summary: 'Run an Auth0-shaped tenant on loopback, for development, until it is signalled.',
  configuration: 'none',
  flags: {
    listen: {
      type: 'string',
      value: 'HOST:PORT',
      summary: `loopback address (default ${DEFAULT_LISTEN})`,
    },
    limit: {
      type: 'string',
      value: 'RATE[/BURST] | off',
      summary: `exchanges per second, and at once (default ${USUAL_LIMIT.rate}/${USUAL_LIMIT.burst})`,
    },
    empty: { type: 'boolean', summary: "start without the demo's users, clients and APIs" },
  },
  async run({ flags }) {
    const { listen = DEFAULT_LISTEN, empty } = flags
    const limit = limitOf(flags.limit)
    const tenant = await createTenant({ listen, empty, limit }).catch(refuse)
    process.stdout.write(empty ? emptyGreeting(tenant) : greeting(tenant, limit))
    await signalled()
    await tenant.close()
    return EXIT.well
  },
})

/** A burst that is left out is the rate, as it is at Auth0. */
function limitOf(text: string | undefined): Limit | false {
  if (text === undefined) return USUAL_LIMIT
  if (text === 'off') return false
  const [, rate = '0', burst = String(Math.ceil(Number(rate)))] =
    /^(\d{1,6}(?:\.\d{1,3})?)(?:\/(\d{1,6}))?$/.exec(text) ?? []
  const limit = { rate: Number(rate), burst: Number(burst) }
  if (limit.rate > 0 && limit.burst > 0) return limit
  throw new UsageError('--limit must be RATE, RATE/BURST or off, for example 8/8')
}

function refuse(error: unknown): never {
  if (error instanceof ListenError) throw new UsageError(error.message, { cause: error })
  throw error
}

function emptyGreeting({ url }: Tenant): string {
  return `The tenant listens at ${url} and has no objects yet. Ctrl-C ends it.\n`
}

function greeting(tenant: Tenant, limit: Limit | false): string {
  const { url, state } = tenant
  const users = [...state.users.values()].map(({ username, password }) => `${username}/${password}`)
  return [
    `The tenant listens at ${url} for development only.`,
    'Its secrets are public. Ctrl-C ends it.',
    '',
    `  users    ${users.join(', ')}`,
    `  clients  ${[...state.clients.keys()].join(', ')}`,
    ...[...state.resourceServers.keys()].map(
      (audience, index) => `  ${(index === 0 ? 'APIs' : '').padEnd(9)}${audience}`,
    ),
    `  limit    ${limit ? `${limit.rate} exchanges per second, ${limit.burst} at once` : 'none'}`,
    '',
    'Faults on demand, and an end to them:',
    '',
    `  curl ${url}_tenant/faults \\`,
    `    -H 'content-type: application/json' -d '{"kind":"server_error","times":3}'`,
    `  curl -X DELETE ${url}_tenant/faults`,
    '',
    "Alice's token for the storefront API:",
    '',
    ...tokenCommand(url).map((line) => `  ${line}`),
    '',
  ].join('\n')
}

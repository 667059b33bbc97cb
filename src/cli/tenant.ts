import { ListenError } from '../tenant/listen.ts'
import { createTenant, type Tenant } from '../tenant/tenant.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { signalled } from './signals.ts'
import { tokenCommand } from './token-command.ts'

const DEFAULT_LISTEN = '127.0.0.1:9400'

/** The embedded tenant by itself, for whoever develops against it. */
export const command = defineCommand({
  summary: 'Run an Auth0-shaped tenant on loopback, for development, until SIGTERM or SIGINT.',
  flags: {
    listen: {
      type: 'string',
      value: 'HOST:PORT',
      summary: `loopback address (default ${DEFAULT_LISTEN})`,
    },
    empty: { type: 'boolean', summary: "start without the demo's users, clients and APIs" },
  },
  async run({ flags: { listen = DEFAULT_LISTEN, empty } }) {
    const tenant = await createTenant({ listen, empty }).catch(refuse)
    process.stdout.write(empty ? emptyGreeting(tenant) : greeting(tenant))
    await signalled()
    await tenant.close()
    return EXIT.well
  },
})

function refuse(error: unknown): never {
  if (error instanceof ListenError) throw new UsageError(error.message, { cause: error })
  throw error
}

function emptyGreeting({ url }: Tenant): string {
  return `The tenant listens at ${url} and has no objects yet. Ctrl-C ends it.\n`
}

function greeting(tenant: Tenant): string {
  const { url, state } = tenant
  const users = [...state.users.values()].map(({ username, password }) => `${username}/${password}`)
  return [
    `The tenant listens at ${url} for development only: its secrets are public. Ctrl-C ends it.`,
    '',
    `  users    ${users.join(', ')}`,
    `  clients  ${[...state.clients.keys()].join(', ')}`,
    `  APIs     ${[...state.resourceServers.keys()].join(', ')}`,
    '',
    "Alice's token for the storefront API:",
    '',
    ...tokenCommand(url).map((line) => `  ${line}`),
    '',
  ].join('\n')
}

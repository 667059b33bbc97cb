import { USUAL_LIMIT, USUAL_MANAGEMENT_LIMIT, type Limit } from '../tenant/limiter.ts'
import { ListenError } from '../tenant/listen.ts'
import type { ManagementClient } from '../tenant/management/system.ts'
import { seedPeople } from '../tenant/seed.ts'
import { createTenant, type Tenant } from '../tenant/tenant.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { signalled } from './signals.ts'
import { tokenCommand } from './token-command.ts'

const DEFAULT_LISTEN = '127.0.0.1:9400'

/** Runs the embedded tenant by itself, for development against it. */
export const command = defineCommand({
  summary: 'Run an Auth0-shaped tenant on loopback for development until SIGTERM or SIGINT.',
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
      summary: `exchanges per second / at once (default ${USUAL_LIMIT.rate}/${USUAL_LIMIT.burst})`,
    },
    empty: { type: 'boolean', summary: "start without the demo's users, clients and APIs" },
    people: { type: 'boolean', summary: 'with --empty: keep users and their application' },
    legacy: { type: 'boolean', summary: 'behave as Auth0 did in 2019: fields and exchange' },
  },
  async run({ flags }) {
    const { listen = DEFAULT_LISTEN, empty } = flags
    if (flags.people && !empty) throw new UsageError('--people needs --empty')
    const limit = limitOf(flags.limit)
    const given = managementClient(process.env)
    const tenant = await createTenant({
      listen,
      empty,
      limit,
      ...(flags.people && { seed: seedPeople }),
      managementLimit: limit && USUAL_MANAGEMENT_LIMIT,
      generation: flags.legacy ? 'legacy' : 'current',
      ...(given === undefined ? {} : { management: given }),
    }).catch(refuse)
    const management = managementLines(tenant, given !== undefined)
    process.stdout.write(
      empty ? emptyGreeting(tenant, management) : greeting(tenant, limit, management),
    )
    await signalled()
    await tenant.close()
    return EXIT.well
  },
})

/** @throws {UsageError} if only one of its two variables is set */
function managementClient(environment: NodeJS.ProcessEnv): ManagementClient | undefined {
  const { BEHALF_TENANT_CLIENT_ID: clientId = '', BEHALF_TENANT_CLIENT_SECRET: clientSecret = '' } =
    environment
  if (clientId === '' && clientSecret === '') return undefined
  if (clientId === '' || clientSecret === '') {
    throw new UsageError(
      'BEHALF_TENANT_CLIENT_ID and BEHALF_TENANT_CLIENT_SECRET go together, or neither is set',
    )
  }
  return { clientId, clientSecret }
}

/** Without a burst, the burst equals the rate, as at Auth0. */
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

function emptyGreeting({ url, state }: Tenant, management: readonly string[]): string {
  const users = [...state.users.values()].map(({ username, password }) => `${username}/${password}`)
  const has = users.length === 0 ? 'no objects yet' : `no APIs yet. Its users: ${users.join(', ')}`
  return [`The tenant listens at ${url} and has ${has}. Ctrl-C ends it.`, '', ...management].join(
    '\n',
  )
}

/** The Management client, as variables for `behalf provision`. Not printed if the environment gave it. */
function managementLines({ url, management }: Tenant, isGiven: boolean): readonly string[] {
  const about = `Its Management API is at ${url}api/v2/`
  if (isGiven) return [`${about}, for the client of the environment.`, '']
  const { clientId, clientSecret } = management
  return [
    `${about}, for this client:`,
    '',
    `  AUTH0_CLIENT_ID=${clientId}`,
    `  AUTH0_CLIENT_SECRET=${clientSecret}`,
    '',
  ]
}

function greeting(tenant: Tenant, limit: Limit | false, management: readonly string[]): string {
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
    ...management,
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

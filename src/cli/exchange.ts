import { writeFile } from 'node:fs/promises'
import type { Route } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { unknownName } from '../config/parts.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { text } from './exchange/print.ts'
import { type Brought, walk } from './exchange/walk.ts'
import { readToken } from './token-file.ts'

/** Shows one exchange in detail: to find out why a route refuses a token, or what its upstream will receive. */
export const command = defineCommand({
  summary:
    'Exchange a token once, as the gateway would for a route. Prints the request and the answer, but no token.',
  positionals: 'ROUTE',
  flags: {
    'token-file': {
      type: 'string',
      value: 'FILE',
      summary: 'the access token to present; - reads standard input',
    },
    'refresh-token-file': {
      type: 'string',
      value: 'FILE',
      summary: 'the refresh token; its replacement is written to FILE',
    },
  },
  formats: ['text', 'json'],
  async run({ config: file, format, flags, positionals }) {
    const [name, ...more] = positionals
    if (name === undefined || more.length > 0) throw new UsageError('name one ROUTE')
    const tokenFile = flags['token-file']
    if (tokenFile === undefined) throw new UsageError('--token-file is needed')
    const { routes } = await loadConfig(file)
    const route = routeOf(routes, name)
    const brought = await broughtFor(route, flags['refresh-token-file'])
    const report = await walk(route, await readToken(tokenFile), brought)
    const shown = format === 'json' ? `${JSON.stringify(report, null, 2)}\n` : text(report)
    process.stdout.write(shown)
    return report.ok ? EXIT.well : EXIT.failed
  },
})

function routeOf(routes: readonly Route[], name: string): Route {
  const route = routes.find((one) => one.name === name)
  if (route !== undefined) return route
  const names = routes.map((one) => one.name)
  throw new UsageError(unknownName('route', name, names))
}

/** A refresh token comes only from a file, so that its successor can be written there. */
async function broughtFor(route: Route, file: string | undefined): Promise<Brought | undefined> {
  const isNeeded = route.exchange.grant === 'refresh-token'
  if (isNeeded && file === undefined) {
    throw new UsageError('--refresh-token-file is needed: the route redeems a refresh token')
  }
  if (file === undefined) return undefined
  if (!isNeeded) throw new UsageError('--refresh-token-file: the route redeems no refresh token')
  if (file === '-') throw new UsageError('--refresh-token-file must be a file, to be written again')
  const refreshToken = await readToken(file, '--refresh-token-file')
  const replace = (successor: string): Promise<void> => writeFile(file, `${successor}\n`)
  return { refreshToken, replace }
}

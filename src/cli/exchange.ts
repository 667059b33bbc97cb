import type { Route } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { unknownName } from '../config/parts.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { text } from './exchange/print.ts'
import { walk } from './exchange/walk.ts'
import { readToken } from './token-file.ts'

/** One exchange, in the open: to find out why a route refuses a token, or what its upstream will receive. */
export const command = defineCommand({
  summary:
    'Exchange a token for a route as the gateway would, once: print what was asked and what came back, never a token.',
  positionals: 'ROUTE',
  flags: {
    'token-file': {
      type: 'string',
      value: 'FILE',
      summary: 'the access token to present; - reads it from standard input',
    },
  },
  formats: ['text', 'json'],
  async run({ config: file, format, flags, positionals }) {
    const [name, ...more] = positionals
    if (name === undefined || more.length > 0) throw new UsageError('name one ROUTE')
    const tokenFile = flags['token-file']
    if (tokenFile === undefined) throw new UsageError('--token-file is needed')
    const { routes } = await loadConfig(file)
    const report = await walk(routeOf(routes, name), await readToken(tokenFile))
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

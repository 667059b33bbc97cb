import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { createOutbound } from '../outbound.ts'
import { createMatch } from '../route/match.ts'
import { createAuthentication } from '../server/authentication.ts'
import { createExplain, type Question } from '../server/explain.ts'
import type { Explanation } from '../server/explain/report.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { wantsColours } from './demo/screen.ts'
import { text } from './explain/print.ts'
import { readToken } from './token-file.ts'

/** Explains a request without sending it: why it is refused, or what each step would do with it. */
export const command = defineCommand({
  summary: 'Show what each step would decide about a request. Exchanges nothing, prints no token.',
  positionals: 'METHOD TARGET',
  flags: {
    'token-file': {
      type: 'string',
      value: 'FILE',
      summary: 'the access token; - reads standard input (default: none)',
    },
    host: {
      type: 'string',
      value: 'HOST',
      summary: 'the Host header, for routes that match a host',
    },
  },
  formats: ['text', 'json'],
  async run({ config: file, format, flags, positionals }) {
    const [method, target, ...more] = positionals
    if (method === undefined || target === undefined || more.length > 0) {
      throw new UsageError('name one METHOD and one TARGET, such as `GET /orders`')
    }
    const config = await loadConfig(file)
    const tokenFile = flags['token-file']
    const token = tokenFile === undefined ? undefined : await readToken(tokenFile)
    const explanation = await explain(config, { method, target, host: flags.host, token })
    const isColourful = wantsColours(process.stdout, process.env)
    process.stdout.write(
      format === 'json'
        ? `${JSON.stringify(explanation, null, 2)}\n`
        : text(explanation, isColourful),
    )
    return explanation.ok ? EXIT.well : EXIT.failed
  },
})

/** Enough for the one token that is verified. */
const REMEMBERED = { maxEntries: 1, maxBytes: 1_048_576 }

async function explain({ apis, routes, server }: Config, question: Question): Promise<Explanation> {
  const outbound = createOutbound()
  const authentication = createAuthentication({ ...REMEMBERED, apis, outbound })
  const ask = createExplain({
    routes,
    match: createMatch(routes),
    authenticate: authentication.authenticate,
    tokenEndpointOf: (issuer, identifier, endpoint) =>
      authentication.metadataOf(issuer)(identifier, endpoint),
    origins: server.publicOrigins,
  })
  try {
    return await ask(question)
  } finally {
    await authentication.close()
    await authentication.close()
    await outbound.close()
  }
}

import { advice, type Advice } from '../config/advice.ts'
import type { Api, Config, Route } from '../config/config.ts'
import { ConfigError } from '../config/faults.ts'
import { loadConfig } from '../config/load.ts'
import { unknownName } from '../config/parts.ts'
import { durationText } from '../config/units.ts'
import type { Proof } from './check/live.ts'
import { needs } from './check/needs.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { readToken } from './token-file.ts'

/** Reads everything that `serve` would read. Connects to no server, unless `--live` is given. */
export const command = defineCommand({
  summary: 'Check the configuration: exit 0 if it can be served, else 78 with every fault.',
  flags: {
    live: {
      type: 'boolean',
      summary: 'also try issuers and upstreams; exit 1 if any fails',
    },
    'subject-token': {
      type: 'string',
      value: 'API=FILE',
      multiple: true,
      summary: 'with --live, a token to exchange; repeatable',
    },
  },
  formats: ['text', 'json'],
  async run({ config: file, format, flags }) {
    try {
      const config = await loadConfig(file)
      const warnings = advice(config)
      const tokens = await subjectTokens(config, flags['subject-token'])
      if (tokens.size > 0 && !flags.live) throw new UsageError('--subject-token needs --live')
      // Loaded only for `--live`, because it needs the whole gateway.
      const live = flags.live ? await import('./check/live.ts') : undefined
      const proofs = await live?.prove(config, tokens)
      process.stdout.write(
        format === 'json' ? json(file, config, warnings, proofs) : text(file, config, warnings),
      )
      if (live && proofs && format === 'text') {
        process.stdout.write(`\n${live.proofsText(proofs)}`)
      }
      return proofs?.some(({ outcome }) => outcome === 'failed') ? EXIT.failed : EXIT.well
    } catch (error) {
      if (!(error instanceof ConfigError) || format !== 'json') throw error
      process.stdout.write(
        `${JSON.stringify({ ok: false, file, faults: error.faults }, null, 2)}\n`,
      )
      return EXIT.configuration
    }
  },
})

async function subjectTokens(
  { apis }: Config,
  given: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const tokens = new Map<string, string>()
  for (const one of given) {
    const [, name, path] = /^([^=]+)=(.+)$/.exec(one) ?? []
    if (name === undefined || path === undefined) {
      throw new UsageError('--subject-token must be API=FILE')
    }
    const names = apis.map((api) => api.name)
    if (!names.includes(name)) throw new UsageError(unknownName('API', name, names))
    tokens.set(name, await readToken(path, '--subject-token'))
  }
  return tokens
}

/** A summary of a route for operators. Contains no secret. */
function summary({ name, match, authenticate, authorize, exchange, proxy }: Route) {
  return {
    name,
    path: match.path,
    methods: match.methods ?? 'all',
    apis: authenticate.apis.map((api) => ({
      name: api.name,
      audience: api.audience,
      issuer: api.issuer.name,
      ...proofSummary(api),
    })),
    needs: authorize,
    exchange: {
      grant: exchange.grant,
      ...(exchange.audience !== undefined && { audience: exchange.audience }),
      ...(exchange.resource !== undefined && { resource: exchange.resource }),
      scopes: exchange.scopes,
      key: exchange.key,
      maxAge: durationText(exchange.maxAgeMs),
      ...(exchange.bound && { bound: exchange.bound }),
      ...(exchange.renew && { renew: exchange.renew }),
      ...(exchange.grant === 'refresh-token' && {
        client: exchange.client.id,
        refreshTokenHeader: exchange.refreshTokenHeader,
      }),
    },
    upstreams: proxy.upstreams,
  }
}

/** The proof of possession that the API demands of callers. */
function proofSummary({ proofOfPossession: proof }: Api) {
  if (proof === undefined) return undefined
  const { mechanism, required, exempt } = proof
  return {
    proofOfPossession: { mechanism, required, ...(exempt.size > 0 && { exempt: [...exempt] }) },
  }
}

function json(
  file: string,
  { routes }: Config,
  warnings: readonly Advice[],
  live: readonly Proof[] | undefined,
): string {
  const ok = live?.every(({ outcome }) => outcome !== 'failed') ?? true
  const report = { ok, file, routes: routes.map(summary), warnings, ...(live && { live }) }
  return `${JSON.stringify(report, null, 2)}\n`
}

function text(file: string, config: Config, warnings: readonly Advice[]): string {
  const { issuers, apis, routes } = config
  const counts = [count(issuers, 'issuer'), count(apis, 'API'), count(routes, 'route')]
  const lines = [`ok  ${file}: ${counts.join(', ')}`]
  for (const route of routes) lines.push('', ...routeLines(route))
  if (warnings.length > 0) lines.push('')
  for (const { path, message } of warnings) lines.push(`warning  ${path}: ${message}`)
  return lines.join('\n') + '\n'
}

function count(items: readonly unknown[], noun: string): string {
  return `${items.length} ${noun}${items.length === 1 ? '' : 's'}`
}

function routeLines(route: Route): readonly string[] {
  const { name, path, methods, apis, upstreams } = summary(route)
  const tokens = apis.map(
    (api) => `of ${api.name} (${api.audience}), by ${api.issuer}${proved(api.proofOfPossession)}`,
  )
  return [
    `${name}  ${typeof methods === 'string' ? 'all methods' : methods.join(', ')} ${path}`,
    `  token     ${tokens.join('\n            or ')}`,
    `  needs     ${needs(route)}`,
    `  exchange  ${exchanged(route)}`,
    `  upstream  ${upstreams.map(({ url }) => url).join(', ')}`,
  ]
}

function proved(
  proof: NonNullable<ReturnType<typeof proofSummary>>['proofOfPossession'] | undefined,
): string {
  if (proof === undefined) return ''
  const { mechanism, required, exempt = [] } = proof
  if (!required) return `, bound by ${mechanism} or to nothing`
  const others = exempt.length === 0 ? '' : `, but those of ${exempt.join(' and ')} need not be`
  return `, bound by ${mechanism}${others}`
}

function exchanged({ exchange }: Route): string {
  const { grant, audience, resource, maxAgeMs, bound, renew } = exchange
  if (grant === 'none') return 'none: the upstream gets no credentials'
  if (grant === 'passthrough') {
    return `none: the upstream gets the caller's own token, because ${exchange.because}`
  }
  const how = grant === 'token-exchange' ? '' : `by ${grant} `
  const target = [audience ?? [], resource ?? []].flat().join(' + ')
  const scopes = exchange.scopes.length === 0 ? '' : ` [${exchange.scopes.join(' ')}]`
  const kept = keptBy(exchange)
  const tied = bound === undefined ? '' : `, bound by ${bound}`
  const renewed = renew === undefined ? '' : `, renewed by ${renew}`
  return `${how}for ${target}${scopes}, ${kept} for at most ${durationText(maxAgeMs)}${renewed}${tied}`
}

/** Which requests can share an issued token. */
function keptBy(exchange: Route['exchange']): string {
  const { grant, key } = exchange
  if (grant === 'client-credentials') return 'kept for all'
  if (grant !== 'refresh-token') return `kept by ${key}`
  const { refreshTokenHeader: header, client } = exchange
  return `of client ${client.id}'s in ${header}, kept by ${key} and refresh token`
}

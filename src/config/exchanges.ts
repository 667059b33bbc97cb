import type { Api, ExchangeConfig, Grant } from './config.ts'
import type { ExchangeInput } from './exchange-options.ts'
import type { Faults, Path } from './faults.ts'
import { many, mapping } from './parts.ts'
import { MANNERS, type Manner } from './profiles.ts'
import { refuseUnrenewable, resolveRedeeming } from './refreshing.ts'

/**
 * Resolves a route's `exchange`; undefined where it has faults.
 *
 * @param raw the block without defaults: an option that the grant ignores is a fault only where it was written
 */
export function resolveExchange(
  input: ExchangeInput,
  raw: unknown,
  {
    apis,
    at,
    faults,
    folder,
  }: {
    readonly apis: readonly Api[]
    readonly at: Path
    readonly faults: Faults
    /** Where relative paths start. */
    readonly folder: string
  },
): ExchangeConfig | undefined {
  const profiles = [...new Set(apis.map(({ issuer }) => issuer.profile))]
  const [usual, another] = new Set(profiles.map((profile) => MANNERS[profile].grants[0]))
  const grant = input.grant ?? usual ?? 'token-exchange'
  const judge: Judge = { input, grant, at, faults }
  refuseUseless(judge, mapping(raw))
  refuseParameters(judge)
  refuseIgnored(judge)
  if (profiles.length === 0) refuseAimless(judge)
  if (input.grant === undefined && another !== undefined) {
    faults.add(at, `cannot be one for all its APIs: some take \`${usual}\`, some \`${another}\``)
  } else {
    // Each token is exchanged by its own API, at that API's issuer: the block must suit all of them.
    for (const profile of profiles) refuseForeign(judge, MANNERS[profile], profile)
  }
  if (grant === 'passthrough' && input.because === undefined) {
    faults.add(
      at,
      '`passthrough` needs a `because`: the upstream is given the token that was meant for the API',
    )
  }
  const refresh = { apis, grant, at, faults, folder }
  const redeeming = resolveRedeeming(input, refresh)
  if (RENEWED.includes(grant)) refuseUnrenewable(input, refresh)
  if (faults.within(at)) return undefined
  if (grant !== 'refresh-token') return configOf(input, grant)
  return redeeming && { ...commonOf(input), grant, ...redeeming }
}

interface Judge {
  readonly input: ExchangeInput
  readonly grant: Grant
  readonly at: Path
  readonly faults: Faults
}

/** Whether the grant asks a token endpoint. */
function isExchanged(grant: Grant): boolean {
  return grant !== 'passthrough' && grant !== 'none'
}

/** Whether the grant asks a token endpoint as the API's own client. */
export function isExchangedByApi(grant: Grant): boolean {
  return isExchanged(grant) && grant !== 'refresh-token'
}

const ALWAYS = ['grant', 'timeout']
/** Options of the grant `refresh-token` alone. */
const OF_REDEEMING = ['refreshTokenHeader', 'returnRefreshToken', 'refreshTokenRotation', 'client']
const RENEWED: readonly Grant[] = ['token-exchange', 'jwt-bearer']

/** Refuses options that the grant would ignore: whoever wrote one expects an effect. */
function refuseUseless({ grant, at, faults }: Judge, raw: Readonly<Record<string, unknown>>): void {
  const useless = (key: string): boolean => {
    if (ALWAYS.includes(key)) return false
    if (key === 'because') return grant !== 'passthrough'
    if (key === 'delegation') return grant !== 'token-exchange'
    if (key === 'renew') return !RENEWED.includes(grant)
    if (OF_REDEEMING.includes(key)) return grant !== 'refresh-token'
    return grant === 'passthrough' ? key !== 'expectAudience' : grant === 'none'
  }
  for (const key of Object.keys(raw).filter(useless)) {
    faults.add([...at, key], `is of no use with \`grant: ${grant}\``)
  }
}

function refuseForeign({ input, grant, at, faults }: Judge, manner: Manner, profile: string): void {
  if (!manner.grants.includes(grant)) {
    const known = manner.grants.map((one) => `\`${one}\``).join(', ')
    return faults.add([...at, 'grant'], `profile \`${profile}\` takes one of ${known}`)
  }
  if (!isExchanged(grant)) return
  if (input.delegation === true && !manner.delegation) {
    faults.add([...at, 'delegation'], `profile \`${profile}\` takes no actor token`)
  }
  const audiences = many(input.audience).length
  if (manner.audiences === 'none' && audiences > 0) {
    faults.add(
      [...at, 'audience'],
      `profile \`${profile}\` takes none: its target is named by \`scopes\``,
    )
  } else if (manner.audiences === 'one' && audiences > 1) {
    faults.add([...at, 'audience'], `profile \`${profile}\` takes a single one`)
  }
  if (!manner.resources && input.resource !== undefined) {
    faults.add([...at, 'resource'], `profile \`${profile}\` knows no resource indicators`)
  }
  const refused = input.scopes.find((scope) => manner.refusedScopes.includes(scope))
  if (refused !== undefined) {
    faults.add([...at, 'scopes'], `profile \`${profile}\` gives no \`${refused}\` for an exchange`)
  }
  refuseTargetless({ input, grant, at, faults }, manner, profile)
}

/** Refuses an exchange that names no target, where the profile and the grant need one. */
function refuseTargetless(
  { input, grant, at, faults }: Judge,
  manner: Manner,
  profile: string,
): void {
  const hasTarget = input.audience !== undefined || input.resource !== undefined
  if (manner.needsScopes && input.scopes.length === 0) {
    faults.add(at, `needs \`scopes\` with profile \`${profile}\``)
  } else if (!hasTarget && manner.audiences !== 'none' && AIMED.includes(grant)) {
    faults.add(at, manner.resources ? 'needs an `audience` or a `resource`' : 'needs an `audience`')
  } else {
    refuseAimless({ input, grant, at, faults })
  }
}

/** Grants that need a target: without one the issued token is for the client itself, or for the audience of the login. */
const AIMED: readonly Grant[] = ['token-exchange', 'refresh-token']

/** Refuses an exchange that names no target at all, with any profile. */
function refuseAimless({ input, grant, at, faults }: Judge): void {
  const aims = [input.audience ?? [], input.resource ?? [], input.scopes].flat()
  if (isExchanged(grant) && aims.length === 0) {
    faults.add(at, 'needs an `audience`, a `resource` or `scopes`')
  }
}

/** Fields that come from the request or have an option of their own, by which the issued token is checked. */
const SAID_ELSEWHERE: ReadonlySet<string> = new Set([
  'subject_token',
  'assertion',
  'actor_token',
  'refresh_token',
  'audience',
  'resource',
  'scope',
])
/** The fields that hold the exchanged token. */
const NEEDED: ReadonlySet<string> = new Set(['subject_token', 'assertion', 'refresh_token'])

function refuseParameters({ input, at, faults }: Judge): void {
  const names = new Set(Object.keys(input.parameters))
  for (const [name, value] of Object.entries(input.parameters)) {
    const path = [...at, 'parameters', name]
    if (typeof value === 'string' && SAID_ELSEWHERE.has(name)) {
      faults.add(
        path,
        'cannot be replaced: it comes from the request or from an option of the route',
      )
    } else if (value === null && NEEDED.has(name)) {
      faults.add(path, 'cannot be left out: it is the token that is exchanged')
    } else if (typeof value === 'object' && value !== null) {
      if (names.has(value.rename)) {
        faults.add([...path, 'rename'], 'is the name of another parameter')
      } else if (SAID_ELSEWHERE.has(value.rename)) {
        faults.add([...path, 'rename'], 'is the name of a field with a meaning of its own')
      }
      names.add(value.rename)
    }
  }
}

/** Claims that say whose a token is. If the cache key ignored one, a user could be served another user's token. */
const WHOSE: ReadonlySet<string> = new Set(['iss', 'sub', 'oid', 'tid', 'org_id', 'act', 'cnf'])

function refuseIgnored({ input, at, faults }: Judge): void {
  const { ignoreClaims, key, renew } = input
  if (ignoreClaims.length > 0 && key === 'token' && renew === undefined) {
    faults.add([...at, 'ignoreClaims'], 'is of no use with `key: token`')
  }
  for (const [index, name] of ignoreClaims.entries()) {
    if (!WHOSE.has(name)) continue
    const what = `\`${name}\` says whose a token is: one of them would be served another's`
    faults.add([...at, 'ignoreClaims', index], what)
  }
}

function commonOf(input: ExchangeInput) {
  const { scopes, parameters, key, ignoreClaims } = input
  return {
    scopes,
    parameters,
    key,
    ignoreClaims,
    audience: input.audience,
    resource: input.resource,
    expectAudience: input.expectAudience,
    extraScopes: input.extraScopes,
    bound: input.bound,
    ...(input.renew && { renew: input.renew }),
    maxAgeMs: input.maxAge,
    defaultLifetimeMs: input.defaultLifetime,
    timeoutMs: input.timeout,
  }
}

function configOf(input: ExchangeInput, grant: Exclude<Grant, 'refresh-token'>): ExchangeConfig {
  const { because = '', delegation = false } = input
  const common = commonOf(input)
  switch (grant) {
    case 'token-exchange':
      return { ...common, grant, delegation }
    case 'passthrough':
      return { ...common, grant, because }
    default:
      return { ...common, grant }
  }
}

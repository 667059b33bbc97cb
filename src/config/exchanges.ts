import type { Api, ExchangeConfig, Grant } from './config.ts'
import type { ExchangeInput } from './exchange-options.ts'
import type { Faults, Path } from './faults.ts'
import { many, mapping } from './parts.ts'
import { MANNERS, type Manner } from './profiles.ts'
import { refuseUnrenewable, resolveRedeeming } from './refreshing.ts'

/**
 * What a route's `exchange` becomes; undefined where something is wrong with it, or with what it depends on.
 *
 * @param raw as it was written: an option that means nothing beside the grant is a fault, its default is not
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
    // Each token is exchanged by its own API, at that one's issuer: the block must be right for all of them.
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

/** With these no token endpoint is asked. */
function isExchanged(grant: Grant): boolean {
  return grant !== 'passthrough' && grant !== 'none'
}

/** With these it is asked by the client that the API is. */
export function isExchangedByApi(grant: Grant): boolean {
  return isExchanged(grant) && grant !== 'refresh-token'
}

const ALWAYS = ['grant', 'timeout']
/** What only these mean anything to. */
const OF_REDEEMING = ['refreshTokenHeader', 'returnRefreshToken', 'refreshTokenRotation', 'client']
const RENEWED: readonly Grant[] = ['token-exchange', 'jwt-bearer']

/** What an option would be ignored for, it is refused for: who writes it expects something of it. */
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

/** Nothing may be asked for that says nowhere whom the issued token is for. */
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

/** What they give without a target is for the one who asks, or for whoever the login was for. */
const AIMED: readonly Grant[] = ['token-exchange', 'refresh-token']

/** Whatever the profile is. */
function refuseAimless({ input, grant, at, faults }: Judge): void {
  const aims = [input.audience ?? [], input.resource ?? [], input.scopes].flat()
  if (isExchanged(grant) && aims.length === 0) {
    faults.add(at, 'needs an `audience`, a `resource` or `scopes`')
  }
}

/** What has an option of its own is said there, where it also is part of what is checked. */
const SAID_ELSEWHERE: ReadonlySet<string> = new Set([
  'subject_token',
  'assertion',
  'actor_token',
  'refresh_token',
  'audience',
  'resource',
  'scope',
])
/** Without these nobody is exchanged. */
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

/** Without these in the key of the cache, one user would be served what was issued for another. */
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

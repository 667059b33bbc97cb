import type { z } from 'zod'
import type { AuthorizeConfig, ClaimCondition, Comparand } from './authorize.ts'
import type { Api, Grant } from './config.ts'
import type { Faults, Path } from './faults.ts'
import { many } from './parts.ts'
import { MANNERS, type Manner } from './profiles.ts'
import type { routeSchema } from './schema.ts'

export type AuthorizeInput = z.output<typeof routeSchema.shape.authorize>

export interface AuthorizeContext {
  /** The route's APIs that have no faults. */
  readonly apis: readonly Api[]
  /** Undefined where the exchange has faults. */
  readonly grant: Grant | undefined
  readonly at: Path
  readonly faults: Faults
}

/** Resolves a route's `authorize`; undefined where it has faults. */
export function resolveAuthorize(
  input: AuthorizeInput,
  context: AuthorizeContext,
): AuthorizeConfig | undefined {
  const { apis, grant, at, faults } = context
  refuseUndecided(input, context)
  refuseUseless(input, context)
  refuseAmbiguous(input, context)
  // Tokens that the issuer would refuse are refused without asking it. Other grants do not send it the subject token.
  const manners = isOnBehalf(grant) ? apis.map(({ issuer: { profile } }) => MANNERS[profile]) : []
  const usersAlone = manners.some(({ subjects }) => subjects === 'users')
  const { maxAge, actors, subject, mayAct = 'check', ...asked } = input
  const maxDepth = actors?.maxDepth ?? shortest(manners)
  return faults.within(at)
    ? undefined
    : {
        scopes: asked.scopes,
        anyScope: asked.anyScope,
        permissions: asked.permissions,
        subject: subject ?? (usersAlone ? 'user' : 'any'),
        assumed: {
          subject: subject === undefined && usersAlone,
          maxDepth: actors?.maxDepth === undefined && maxDepth !== undefined,
        },
        clients: asked.clients,
        organizations: asked.organizations,
        claims: input.claims.map(conditionOf),
        authorizationDetails: asked.authorizationDetails,
        actors: {
          allow: actors?.allow,
          required: actors?.required ?? false,
          maxDepth,
        },
        mayAct: isOnBehalf(grant) ? mayAct : 'ignore',
        acrValues: asked.acrValues,
        maxAgeMs: maxAge,
      }
}

type ClaimInput = AuthorizeInput['claims'][number]

const TESTS = ['equals', 'oneOf', 'contains', 'exists'] as const

/** Refuses an entry with two tests, which could mean both or either. */
function refuseAmbiguous({ claims }: AuthorizeInput, { at, faults }: AuthorizeContext): void {
  for (const [index, claim] of claims.entries()) {
    const path = [...at, 'claims', index]
    const [test, another] = TESTS.filter((name) => claim[name] !== undefined)
    if (test === undefined) {
      faults.add(path, 'needs one of `equals`, `oneOf`, `contains` and `exists`')
    } else if (another !== undefined) {
      faults.add([...path, another], `stands beside \`${test}\`: write two entries`)
    }
  }
}

function conditionOf({ claim, equals, oneOf, contains, exists }: ClaimInput): ClaimCondition {
  const way = many(claim)
  if (exists !== undefined) return { claim: way, test: 'exists', exists }
  const held: readonly Comparand[] = many(contains)
  if (held.length > 0) return { claim: way, test: 'contains', values: held }
  return { claim: way, test: 'oneOf', values: [...many(equals), ...many(oneOf)] }
}

/** Whether the grant sends the issuer the subject token, for another token of the same subject. */
function isOnBehalf(grant: Grant | undefined): boolean {
  return grant === 'token-exchange' || grant === 'jwt-bearer'
}

function shortest(manners: readonly Manner[]): number | undefined {
  const depths = manners.flatMap(({ maxActorDepth }) => maxActorDepth ?? [])
  return depths.length === 0 ? undefined : Math.min(...depths)
}

/** Refuses a condition on the kind of subject where the issuer's tokens do not tell it. */
function refuseUndecided({ subject = 'any' }: AuthorizeInput, context: AuthorizeContext): void {
  const { apis, at, faults } = context
  const mute = apis.find(({ issuer: { profile } }) => !MANNERS[profile].tellsSubjects)
  if (subject === 'any' || mute === undefined) return
  faults.add(
    [...at, 'subject'],
    `must be \`any\`: tokens of profile \`${mute.issuer.profile}\` do not tell users from clients`,
  )
}

/** Refuses options that would be ignored, or that no token could fulfil. */
function refuseUseless(input: AuthorizeInput, { grant, at, faults }: AuthorizeContext): void {
  if (input.mayAct !== undefined && grant !== undefined && !isOnBehalf(grant)) {
    faults.add([...at, 'mayAct'], `is of no use with \`grant: ${grant}\`: nobody becomes an actor`)
  }
  for (const option of ['acrValues', 'maxAge'] as const) {
    if (input.subject !== 'client' || input[option] === undefined) continue
    faults.add([...at, option], 'can never hold with `subject: client`: a client is no user')
  }
  const { allow, maxDepth, required } = input.actors ?? {}
  if (maxDepth === 0 && (required === true || allow !== undefined)) {
    faults.add([...at, 'actors', 'maxDepth'], 'is 0: nobody may act, whom else `actors` names')
  }
}

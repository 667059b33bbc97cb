import type { Route } from '../../config/config.ts'
import { suggestion } from '../../config/nearest.ts'
import type { Step } from './report.ts'

/** What is known about a request when a step refuses it. */
export interface Circumstances {
  readonly method: string
  readonly target: string
  readonly host?: string | undefined
  readonly routes: readonly Route[]
  /** Undefined where no route was found. */
  readonly route: Route | undefined
}

/** What to change so that the step passes: the token, the request, or the configuration. Pure. */
export function remedyOf(step: Step, code: string, circumstances: Circumstances): string {
  const { method, target, host, routes, route } = circumstances
  switch (code) {
    case 'route_not_found': {
      const paths = routes.map(({ match }) => match.path)
      const [path = ''] = target.split('?', 1)
      const meant = suggestion(path, paths)
      const isUnhosted = host === undefined && routes.some(({ match }) => match.hosts.length > 0)
      const also = isUnhosted ? '; some routes are of a host alone, and none was given' : ''
      return `ask for a path that a route holds${meant}; or add a route with \`match.path\`${also}`
    }
    case 'method_not_allowed':
      return `use a method that the route takes, or add ${method} to its \`match.methods\``
    case 'invalid_request_target':
      return 'write the path in the one spelling that no server reads differently'
    case 'missing_token':
      return 'send an access token in the header `Authorization: Bearer TOKEN`'
    case 'invalid_request':
      return 'send exactly one access token, in the header Authorization and nowhere else'
    case 'invalid_token':
      return tokenRemedy(step)
    case 'invalid_dpop_proof':
    case 'use_dpop_nonce':
      return 'a proof is good for one request alone and cannot be given here: ask with the client that holds the key'
    case 'keys_unavailable':
      return 'see whether the issuer can be reached from here, and whether `jwksUri` is right'
    case 'insufficient_scope':
    case 'not_permitted':
    case 'insufficient_user_authentication':
      return conditionRemedy(step, route)
    case 'exchange_unavailable':
      return 'see whether the issuer can be reached from here, or give its `tokenEndpoint`'
    case 'exchange_misconfigured':
      return 'see the `client` of the API: its key or certificate cannot be used'
    case 'internal_error':
      return 'this is a defect: please report it'
    default:
      return 'try again: what is in the way may pass'
  }
}

/** The remedy for the first thing that is wrong with the token, which explains most. */
function tokenRemedy({ facts }: Step): string {
  const [wrong] = facts.filter(({ wanted }) => wanted !== undefined)
  switch (wrong?.name) {
    case 'form':
      return 'ask the issuer for a token for this API by its audience: what was given is none that can be read'
    case 'iss':
      return 'use a token of that issuer, or add this one to `issuers`, if it is to be trusted'
    case 'aud':
      return 'ask the issuer for a token with that audience, or correct the `audience` of the API'
    case 'exp':
      return 'get a new token'
    case 'nbf':
      return 'wait, or set the clocks right'
    case 'alg':
      return 'sign with what the API takes, or correct its `algorithms`'
    case 'typ':
      return 'use an access token of that type, or correct the `typ` of the API'
    case 'cnf':
      if (wrong.value === 'none') return 'ask the issuer for a token that is bound to its client'
      return 'use the token as its client does, which alone can show what it is bound to'
    default:
      return 'get a new token: this one may have been changed, or signed with a key that is not the issuer’s'
  }
}

function conditionRemedy({ conditions = [] }: Step, route: Route | undefined): string {
  const failed = conditions.find(({ holds }) => !holds)
  const name = route === undefined ? 'the route' : `route \`${route.name}\``
  if (failed === undefined) return `see what ${name} asks of a token`
  const { option, needs, found } = failed
  const change = `or change \`authorize.${option}\` of ${name}`
  if (option === 'scopes' || option === 'permissions') {
    return `get a token that holds ${missing(needs, found)} too, ${change}`
  }
  if (option === 'acrValues' || option === 'maxAge') {
    return `let the user authenticate again, as the challenge asks, ${change}`
  }
  return `use a token of which that is true, ${change}`
}

function missing(needs: unknown, found: unknown): string {
  const has = new Set<unknown>(Array.isArray(found) ? found : [])
  const lacking = Array.isArray(needs) ? needs.filter((one) => !has.has(one)) : []
  return lacking.map(String).join(' ')
}

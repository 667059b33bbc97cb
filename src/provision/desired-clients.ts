import type { Api } from '../config/config.ts'
import type { Plot } from './plot.ts'
import { targetsOf } from './desired-servers.ts'
import { ProvisionError } from './failure.ts'
import { AnyOf, type Fields } from './merge.ts'
import { proofOf, type Proof } from './proof.ts'

export interface WantedClient {
  readonly kind: 'client'
  /** The name in plans: that of the API, or the client's id. */
  readonly name: string
  /** The resource server that the client belongs to. Undefined: an application, which is never created. */
  readonly identifier: string | undefined
  /** Undefined: not known yet, the tenant chooses it. */
  readonly id: string | undefined
  /** The secret that the client must have. Undefined: any. */
  readonly secret: string | undefined
  /** Undefined: the client authenticates by a secret. */
  readonly proof: Proof | undefined
  readonly fields: Fields
  /** Sent on creation. Undefined: never created here, because its API (2019) or the application's owner creates it. */
  readonly initial: Fields | undefined
}

/** The client by which an API exchanges tokens. */
export async function wantedClient(plot: Plot, api: Api): Promise<WantedClient> {
  const { name, audience } = api
  const client = api.client!
  const isBlank = (option: string): boolean =>
    plot.blanks.some((one) => one.api === name && one.option === option)
  const proof = await proofOf(`apis.${name}.client`, client)
  if (proof !== undefined && plot.generation === 'legacy') {
    const message = `apis.${name}.client: in a tenant of 2019 an API's client has a \`secret\` and nothing else`
    throw new ProvisionError('impossible', message)
  }
  const own = plot.config.routes.filter(({ authenticate }) => authenticate.apis.includes(api))
  const forItself = own.some(({ exchange }) => exchange.grant === 'client-credentials')
  return {
    kind: 'client',
    name,
    identifier: audience,
    proof,
    id: isBlank('id') ? undefined : client.id,
    secret: 'secret' in client && !isBlank('secret') ? client.secret : undefined,
    fields:
      plot.generation === 'legacy'
        ? {}
        : {
            token_exchange: { allow_any_profile_of_type: ['on_behalf_of_token_exchange'] },
            ...(forItself && { grant_types: ['client_credentials'] }),
            ...('secret' in client && {
              client_authentication_methods: null,
              token_endpoint_auth_method: methodOf(client.method),
            }),
          },
    initial:
      plot.generation === 'legacy'
        ? undefined
        : {
            name: `${name} (On-Behalf-Of)`,
            app_type: 'resource_server',
            resource_server_identifier: audience,
          },
  }
}

/** Auth0 accepts both methods from a client with a secret. */
function methodOf(method: string): AnyOf {
  const [post, basic] = ['client_secret_post', 'client_secret_basic']
  return method === post ? new AnyOf(post, basic) : new AnyOf(basic, post)
}

/** The clients whose refresh tokens are redeemed: each needs a policy for the audiences of its routes. */
export function wantedApplications(plot: Plot): readonly WantedClient[] {
  const policies = new Map<string, Map<string, Set<string>>>()
  for (const [audience, asked] of targetsOf(plot)) {
    for (const exchange of asked) {
      if (exchange.grant !== 'refresh-token' || plot.generation === 'legacy') continue
      const { id } = exchange.client
      const own = policies.get(id) ?? new Map<string, Set<string>>()
      policies.set(
        id,
        own.set(audience, new Set([...(own.get(audience) ?? []), ...exchange.scopes])),
      )
    }
  }
  return [...policies].map(([id, own]) => ({
    kind: 'client',
    name: id,
    id,
    identifier: undefined,
    secret: undefined,
    proof: undefined,
    fields: {
      grant_types: ['refresh_token'],
      refresh_token: {
        policies: [...own].map(([audience, scopes]) => ({ audience, scope: [...scopes] })),
      },
    },
    initial: undefined,
  }))
}

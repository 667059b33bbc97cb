import { readFileSync } from 'node:fs'
import type { Api, ExchangeConfig, Material } from '../config/config.ts'
import type { ProvisionConfig } from '../config/provision-options.ts'
import type { Plot } from './plot.ts'
import { ProvisionError } from './failure.ts'
import { AnyOf, defined, type Fields } from './merge.ts'
import { publicPemOf, thumbprintOf } from './thumbprint.ts'

/** A resource server, by its identifier. */
export interface WantedServer {
  readonly kind: 'resource-server'
  readonly identifier: string
  /** The fields that must hold. Others are left alone. */
  readonly fields: Fields
  /** Sent in addition on creation; a later difference is no drift. */
  readonly initial: Fields
  /** The RFC 7638 thumbprint of the key in `token_encryption`: tenants show nothing else of the key. */
  readonly thumbprint: string | undefined
}

type Audience = ProvisionConfig['audiences'][string]

/** The APIs first, then the audiences that routes exchange for, then those that only `provision` names. */
export async function wantedServers(plot: Plot): Promise<readonly WantedServer[]> {
  const { config, apis } = plot
  const targets = targetsOf(plot)
  const others = Object.keys(config.provision.audiences)
  const own = apis.map(({ audience }) => audience)
  const granted = config.provision.grants.map(({ audience }) => audience)
  // With several tenants it is unknown to which of them an audience that only `provision` names belongs.
  const isOnly = new Set(config.apis.map(({ issuer }) => issuer)).size === 1
  const identifiers = new Set([
    ...own,
    ...targets.keys(),
    ...(isOnly ? [...others, ...granted] : []),
  ])
  return Promise.all([...identifiers].map((identifier) => wantedServer(plot, identifier, targets)))
}

/** The audiences that routes exchange for, each with the exchanges of those routes. */
export function targetsOf({
  config,
  issuer,
}: Plot): ReadonlyMap<string, readonly ExchangeConfig[]> {
  const targets = new Map<string, ExchangeConfig[]>()
  for (const { authenticate, exchange } of config.routes) {
    if (authenticate.apis.every((api) => api.issuer !== issuer)) continue
    for (const audience of [exchange.audience ?? []].flat()) {
      targets.set(audience, [...(targets.get(audience) ?? []), exchange])
    }
  }
  return targets
}

async function wantedServer(
  plot: Plot,
  identifier: string,
  targets: ReadonlyMap<string, readonly ExchangeConfig[]>,
): Promise<WantedServer> {
  const { config, apis, generation } = plot
  const said = config.provision.audiences[identifier]
  const api = apis.find(({ audience }) => audience === identifier)
  const asked = targets.get(identifier)
  const encryption = generation === 'current' ? await encryptionOf(said, api) : undefined
  const own = api && ofApi(plot, api)
  const target = asked && ofTarget(asked)
  const scopes = { ...own?.scopes, ...target?.scopes, ...said?.scopes }
  const fields = defined({
    ...own?.fields,
    ...target?.fields,
    ...(said && fieldsOf(said)),
    scopes: Object.entries(scopes).map(([value, text]) =>
      text === '' ? { value } : { value, description: text },
    ),
    token_encryption: encryption?.value,
  })
  const guarded = {
    user: { policy: 'require_client_grant' },
    client: { policy: 'require_client_grant' },
  }
  const initial = {
    name: api?.name ?? identifier.replaceAll(/[<>]/g, '').slice(0, 200),
    signing_alg: 'RS256',
    // Created for exchanges: no application can get tokens for it in another way unless it has a grant.
    ...(asked && !api && generation === 'current' && { subject_type_authorization: guarded }),
    ...own?.initial,
  }
  const kept = generation === 'legacy' ? withoutCurrent(fields) : fields
  return {
    kind: 'resource-server',
    identifier,
    fields: kept,
    initial,
    thumbprint: encryption?.thumbprint,
  }
}

interface Part {
  readonly fields: Fields
  readonly initial?: Fields
  readonly scopes: Readonly<Record<string, string>>
}

const AUTH0_ALGORITHMS = ['RS256', 'RS512', 'PS256']

/** The fields that an API needs so that the gateway accepts its tokens. */
function ofApi({ config, blanks, generation }: Plot, api: Api): Part {
  const { name, verification, typ, proofOfPossession: proof } = api
  const routes = config.routes.filter(({ authenticate }) => authenticate.apis.includes(api))
  const permissions = routes.flatMap(({ authorize }) => authorize.permissions)
  const scopes = routes.flatMap(({ authorize }) => [...authorize.scopes, ...authorize.anyScope])
  const isRedeemed = routes.some(({ exchange }) => exchange.grant === 'refresh-token')
  const isRenewed = routes.some(({ exchange }) => exchange.renew === 'refresh-token')
  const secret = verification.kind === 'secret' ? verification.secrets[0] : undefined
  const isBlank = blanks.some((one) => one.api === name && one.option === 'signingSecret')
  return {
    scopes: namesOnly([...scopes, ...permissions]),
    fields: defined({
      signing_alg: algorithmOf(api),
      signing_secret: isBlank ? undefined : secret,
      token_dialect: dialectOf(typ === 'at+jwt', permissions.length > 0),
      enforce_policies: permissions.length > 0 ? true : undefined,
      allow_offline_access: isRedeemed ? true : undefined,
      proof_of_possession: proof && {
        mechanism: proof.mechanism,
        required: proof.required,
        ...(proof.required && { required_for: requiredFor(proof.exempt) }),
      },
      ...(generation === 'legacy' && legacyFields(isRenewed)),
    }),
    initial: defined({ signing_secret: isBlank ? secret : undefined }),
  }
}

/** Left out, `required_for` means `all_clients`. */
function requiredFor(exempt: ReadonlySet<string>): unknown {
  return exempt.size > 0 ? 'public_clients' : new AnyOf('all_clients', undefined)
}

/** The fields by which an API of 2019 gets its role as a client. */
function legacyFields(isRenewed: boolean): Fields {
  return {
    token_exchange: {
      enabled_subject_token_types: ['urn:ietf:params:oauth:token-type:access_token'],
    },
    ...(isRenewed && { client: { grant_types: ['refresh_token'] } }),
  }
}

function algorithmOf({ name, verification }: Api): unknown {
  if (verification.kind === 'secret') return 'HS256'
  const [first, ...others] = verification.algorithms.filter((one) => AUTH0_ALGORITHMS.includes(one))
  if (first !== undefined) return new AnyOf(first, ...others)
  const message = `apis.${name}.algorithms: Auth0 signs with ${AUTH0_ALGORITHMS.join(', ')} and HS256 alone`
  throw new ProvisionError('impossible', message)
}

function dialectOf(isRfc9068: boolean, hasPermissions: boolean): unknown {
  if (isRfc9068 && hasPermissions) return 'rfc9068_profile_authz'
  if (isRfc9068) return new AnyOf('rfc9068_profile', 'rfc9068_profile_authz')
  return hasPermissions ? new AnyOf('access_token_authz', 'rfc9068_profile_authz') : undefined
}

/** The fields that a target needs so that tokens for it are issued without a user who could consent. */
function ofTarget(asked: readonly ExchangeConfig[]): Part {
  const forUsers = asked.some(({ grant }) => grant !== 'client-credentials')
  const bound = asked.find((exchange) => exchange.bound !== undefined)?.bound
  const isRenewed = asked.some(({ renew }) => renew === 'refresh-token')
  const any = new AnyOf('require_client_grant', 'allow_all')
  return {
    scopes: namesOnly(asked.flatMap(({ scopes }) => scopes)),
    fields: defined({
      skip_consent_for_verifiable_first_party_clients: forUsers ? true : undefined,
      // Only access for users matters here; the policy for clients stays as it is.
      subject_type_authorization: forUsers
        ? { user: { policy: any } }
        : { client: { policy: 'require_client_grant' } },
      allow_offline_access: isRenewed ? true : undefined,
      proof_of_possession: bound && { mechanism: bound, required: new AnyOf(false, true) },
    }),
  }
}

function namesOnly(scopes: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(scopes.map((value) => [value, '']))
}

/** An audience's options in the configuration, under Auth0's names. */
function fieldsOf(said: Audience): Fields {
  const { subjectTypeAuthorization: types, proofOfPossession: proof } = said
  return defined({
    name: said.name,
    signing_alg: said.signingAlg,
    token_lifetime: said.tokenLifetime,
    token_dialect: said.tokenDialect,
    enforce_policies: said.enforcePolicies,
    allow_offline_access: said.allowOfflineAccess,
    authorization_details: said.authorizationDetails?.map((type) => ({ type })),
    skip_consent_for_verifiable_first_party_clients: said.skipConsentForVerifiableFirstPartyClients,
    consent_policy: said.consentPolicy,
    proof_of_possession:
      proof && defined({ ...proof, required_for: proof.requiredFor, requiredFor: undefined }),
    subject_type_authorization:
      types &&
      defined({
        user: types.user && { policy: types.user },
        client: types.client && { policy: types.client },
      }),
  })
}

interface Encryption {
  readonly value: Fields
  readonly thumbprint: string
}

async function encryptionOf(
  said: Audience | undefined,
  api: Api | undefined,
): Promise<Encryption | undefined> {
  const given = said?.tokenEncryption
  const [own] = api?.decryptionKeys ?? []
  const pem = given?.encryptionKey.pem ?? (own && publicPemOf(pemOf(own.material)))
  if (pem === undefined) return undefined
  const { alg, name, kid } = given?.encryptionKey ?? {
    alg: new AnyOf('RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512'),
    kid: own?.kid,
  }
  const key = defined({ alg, pem, name, kid })
  return {
    value: { format: 'compact-nested-jwe', encryption_key: key },
    thumbprint: await thumbprintOf(pem),
  }
}

export function pemOf(material: Material): string {
  return 'pem' in material ? material.pem : readFileSync(material.file, 'utf8')
}

/** Fields that tenants of 2019 did not have. */
const CURRENT_ONLY = [
  'subject_type_authorization',
  'proof_of_possession',
  'token_encryption',
  'authorization_details',
  'consent_policy',
]

function withoutCurrent(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !CURRENT_ONLY.includes(name)))
}

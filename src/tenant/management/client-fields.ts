import type { Generation } from './kind.ts'
import {
  anything,
  flag,
  list,
  nullable,
  object,
  oneOf,
  text,
  whole,
  type Fields,
  type Rule,
} from './rules.ts'

const NAMES = list(text(1))

/** Fields that are stored and returned, and have no effect. */
const SETTINGS_ALWAYS: Fields = {
  description: text(0, 140),
  logo_uri: text(),
  callbacks: list(text()),
  allowed_origins: list(text()),
  web_origins: list(text()),
  client_aliases: NAMES,
  allowed_clients: NAMES,
  allowed_logout_urls: list(text()),
  is_token_endpoint_ip_header_trusted: flag,
  oidc_conformant: flag,
  encryption_key: nullable(anything),
  sso: flag,
  sso_disabled: flag,
  cross_origin_authentication: flag,
  cross_origin_loc: text(),
  custom_login_page_on: flag,
  custom_login_page: text(1),
  custom_login_page_preview: text(1),
  form_template: text(1),
  addons: anything,
  client_metadata: object({}, { open: true }),
  mobile: anything,
  initiate_login_uri: text(),
}

const ORGANIZATION_USAGE = oneOf('deny', 'allow', 'require')
const REQUIRE_BEHAVIOR = oneOf('no_prompt', 'pre_login_prompt', 'post_login_prompt')
const DISCOVERY_METHODS = list(oneOf('email', 'organization_name'), { least: 1 })

const SETTINGS_CURRENT: Fields = {
  ...SETTINGS_ALWAYS,
  oidc_logout: nullable(anything),
  oidc_backchannel_logout: nullable(anything),
  session_transfer: nullable(anything),
  native_social_login: nullable(anything),
  fedcm_login: nullable(anything),
  default_organization: nullable(anything),
  organization_usage: ORGANIZATION_USAGE,
  organization_require_behavior: REQUIRE_BEHAVIOR,
  organization_discovery_methods: DISCOVERY_METHODS,
  require_pushed_authorization_requests: flag,
  require_proof_of_possession: flag,
  signed_request_object: nullable(anything),
  token_vault_privileged_access: nullable(anything),
  compliance_level: nullable(text()),
  skip_non_verifiable_callback_uri_confirmation_prompt: flag,
  par_request_expiry: nullable(whole(10, 600)),
  token_quota: nullable(anything),
  third_party_security_mode: text(),
  redirection_policy: text(),
  express_configuration: nullable(anything),
  my_organization_configuration: nullable(anything),
  async_approval_notification_channels: anything,
}

/** Fields that a change may remove, by null or an empty text. */
const ENDED_BY_CHANGE: Fields = {
  cross_origin_loc: nullable(text()),
  custom_login_page: text(),
  custom_login_page_preview: text(),
  form_template: text(),
  organization_usage: nullable(ORGANIZATION_USAGE),
  organization_require_behavior: nullable(REQUIRE_BEHAVIOR),
  organization_discovery_methods: nullable(DISCOVERY_METHODS),
  skip_non_verifiable_callback_uri_confirmation_prompt: nullable(flag),
}

export const SETTINGS: Readonly<Record<Generation, Fields>> = {
  current: SETTINGS_CURRENT,
  legacy: SETTINGS_ALWAYS,
}

const POLICY = object(
  { audience: text(1, 600), scope: list(text(1, 280)) },
  { required: ['audience', 'scope'] },
)

const REFRESH_TOKEN = object(
  {
    rotation_type: oneOf('rotating', 'non-rotating'),
    expiration_type: oneOf('expiring', 'non-expiring'),
    leeway: whole(0),
    token_lifetime: whole(1, 157_788_000),
    infinite_token_lifetime: flag,
    idle_token_lifetime: whole(1),
    infinite_idle_token_lifetime: flag,
    policies: nullable(list(POLICY, { least: 1 })),
  },
  { required: ['rotation_type', 'expiration_type'] },
)

const TOKEN_EXCHANGE = object({
  allow_any_profile_of_type: list(oneOf('custom_authentication', 'on_behalf_of_token_exchange')),
})

const METHOD = oneOf('none', 'client_secret_post', 'client_secret_basic')

const ALWAYS: Fields = {
  name: text(0, Infinity, /^[^<>]+$/),
  grant_types: NAMES,
  is_first_party: flag,
  jwt_configuration: object(
    { lifetime_in_seconds: whole(0), secret_encoded: flag, scopes: anything, alg: text(1) },
    { open: true },
  ),
}

const APPLICATIONS = ['native', 'spa', 'regular_web', 'non_interactive']

export const CREDENTIAL: Rule = object(
  {
    credential_type: oneOf('public_key', 'cert_subject_dn', 'x509_cert'),
    name: text(0, 128),
    subject_dn: text(1, 256),
    pem: text(1, 4_096),
    alg: oneOf('RS256', 'RS384', 'PS256'),
    parse_expiry_from_cert: flag,
    expires_at: text(1),
    kid: text(10, 64, /^([0-9a-zA-Z-_]{10,64})$/),
  },
  { required: ['credential_type'] },
)

/** A real tenant was seen to accept no more. */
const MOST_USED = 2

const methods = (credential: Rule): Rule => {
  const credentials = list(credential, { most: MOST_USED })
  const method = object({ credentials }, { required: ['credentials'] })
  return object(
    { private_key_jwt: method, tls_client_auth: method, self_signed_tls_client_auth: method },
    { least: 1, most: 1 },
  )
}
const CREDENTIAL_ID = object({ id: text(1) }, { required: ['id'] })

export const CREATED: Readonly<Record<Generation, Fields>> = {
  legacy: {
    ...SETTINGS.legacy,
    ...ALWAYS,
    token_endpoint_auth_method: METHOD,
    app_type: oneOf(...APPLICATIONS),
  },
  current: {
    ...SETTINGS.current,
    ...ALWAYS,
    token_endpoint_auth_method: METHOD,
    refresh_token: nullable(REFRESH_TOKEN),
    app_type: oneOf(...APPLICATIONS, 'resource_server'),
    token_exchange: TOKEN_EXCHANGE,
    resource_server_identifier: text(1, 600),
    client_authentication_methods: methods(CREDENTIAL),
  },
}

export const CHANGED: Readonly<Record<Generation, Fields>> = {
  legacy: { ...CREATED.legacy, client_secret: text(1) },
  current: {
    ...SETTINGS.current,
    ...ENDED_BY_CHANGE,
    ...ALWAYS,
    token_endpoint_auth_method: nullable(METHOD),
    refresh_token: nullable(REFRESH_TOKEN),
    app_type: oneOf(...APPLICATIONS, 'resource_server'),
    token_exchange: nullable(TOKEN_EXCHANGE),
    client_authentication_methods: nullable(methods(CREDENTIAL_ID)),
    client_secret: text(1),
  },
}

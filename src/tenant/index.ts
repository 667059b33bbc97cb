/** `behalf/tenant`: the embedded, Auth0-shaped authorization server, for the tests of whoever uses the gateway. */
export { createTenant, type Tenant, type TenantOptions, type TokenOptions } from './tenant.ts'
export type {
  Client,
  ClientGrant,
  NewClient,
  NewClientGrant,
  NewResourceServer,
  Permissions,
  ProofOfPossession,
  ResourceServer,
  State,
  TokenDialect,
  User,
} from './state.ts'
export type { Fault, FaultKind, FaultScope } from './faults.ts'
export type { Counts, Limit } from './limiter.ts'
export type { TokenRequest } from './token-endpoint.ts'

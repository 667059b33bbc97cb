/** `behalf/tenant`: the embedded, Auth0-shaped authorization server, for tests of applications that use the gateway. */
export { createTenant, type Tenant, type TenantOptions, type TokenOptions } from './tenant.ts'
export type { AuthenticationMethods, Client, Credential, NewClient } from './client.ts'
export type { ClientGrant, NewClientGrant } from './client-grant.ts'
export type {
  NewResourceServer,
  ProofOfPossession,
  ResourceServer,
  TokenDialect,
  TokenEncryption,
} from './resource-server.ts'
export type { State, SystemObjects } from './state.ts'
export type { Permissions, User } from './user.ts'
export type { Generation } from './management/kind.ts'
export type { ManagementCall } from './management/management.ts'
export type { ManagementClient } from './management/system.ts'
export type { Fault, FaultKind, FaultScope } from './faults.ts'
export type { Counts, Limit } from './limiter.ts'
export type { TokenRequest } from './token-endpoint.ts'

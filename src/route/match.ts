import type { Route } from '../config/config.ts'
import type { Target } from './target.ts'

/** @throws {GatewayError} `route_not_found`, `method_not_allowed` (with the methods that are) */
export type Match = (method: string, host: string | undefined, target: Target) => Route

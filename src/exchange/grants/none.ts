import type { IssuedToken } from '../issued.ts'

/** For an upstream that gets no credentials. */
export const NO_CREDENTIALS: IssuedToken = {
  scheme: 'none',
  value: '',
  expiresAt: Number.POSITIVE_INFINITY,
  scopes: [],
}

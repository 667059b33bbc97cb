import type { AdminConfig } from '../config/config.ts'
import { UsageError } from './command.ts'

/** The origin of a gateway's admin listener, as seen from this machine: one on all addresses is reached on loopback. */
export function adminOrigin({ listen, tls }: Pick<AdminConfig, 'listen' | 'tls'>): string {
  const { host, port } = listen
  if (port === 0) throw new UsageError('the admin listener takes any free port: use --url')
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  const scheme = tls === undefined ? 'http' : 'https'
  return `${scheme}://${reached.includes(':') ? `[${reached}]` : reached}:${port}`
}

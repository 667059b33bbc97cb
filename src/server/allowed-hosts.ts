import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { AdminConfig } from '../config/config.ts'

type Asked = Pick<IncomingMessage, 'url' | 'headers'>

/**
 * Whether a request names a host by which only operators reach this listener. It protects against DNS rebinding: a page in
 * an operator's browser can have its own name lead here and read the answer, but its requests then carry that name in
 * `Host`. So these hosts are allowed, whatever the port: addresses, which no page can redirect; `localhost`, which nobody
 * can register (RFC 6761, section 6.3); the host that is listened on; and those that are configured. So are requests
 * without a host (HTTP/1.0): browsers always send one. Does NOT authenticate anybody.
 */
export function isAllowedHost(
  { url = '', headers }: Asked,
  { listen, allowedHosts }: Pick<AdminConfig, 'listen' | 'allowedHosts'>,
): boolean {
  const authority = url.startsWith('/') ? headers.host : (ABSOLUTE.exec(url)?.[1] ?? '')
  if (authority === undefined) return true
  const [, bracketed, plain = ''] = AUTHORITY.exec(authority.toLowerCase()) ?? []
  if (bracketed !== undefined) return isIP(bracketed) === 6
  if (isIP(plain) === 4) return true
  const name = plain.replace(/\.$/, '')
  return (
    name === 'localhost' ||
    name === listen.host.toLowerCase() ||
    allowedHosts.includes(name) ||
    allowedHosts.includes(name.replace(/^[^.]+/, '*'))
  )
}

/** The authority of an absolute-form target takes precedence over the Host header (RFC 9112, section 3.2.2). */
const ABSOLUTE = /^https?:\/\/([^/?#]*)/i
const AUTHORITY = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/

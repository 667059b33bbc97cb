import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { AdminConfig } from '../config/config.ts'

type Asked = Pick<IncomingMessage, 'url' | 'headers'>

/**
 * Whether a request asks by a name that only operators give this listener. A page in a browser of theirs reads what its own
 * name answers, wherever it lets that lead (DNS rebinding); but it has to ask by that name. So addresses are answered, which
 * lead nowhere else, `localhost`, which is nobody's (RFC 6761, section 6.3), the host that is listened on, and those that are
 * listed, whatever the port. So is who names no host (HTTP/1.0): browsers always do. Does NOT say who asks.
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

/** It comes before the Host header (RFC 9112, section 3.2.2). */
const ABSOLUTE = /^https?:\/\/([^/?#]*)/i
const AUTHORITY = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/

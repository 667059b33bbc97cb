import { X509Certificate } from 'node:crypto'
import type { z } from 'zod'
import type { Bound, ProxyConfig, UpstreamTls, WeightedUpstream } from './config.ts'
import type { Faults, Path } from './faults.ts'
import { resolveHeaders } from './header-rules.ts'
import { identityOf, materialOf } from './material.ts'
import type { proxy } from './proxy-options.ts'

type ProxyInput = z.output<typeof proxy>

export interface ProxyContext {
  readonly match: { readonly path: string; readonly pathParameters: boolean } | undefined
  readonly bound: Bound | undefined
  readonly at: Path
  readonly faults: Faults
  /** Where relative paths start. */
  readonly folder: string
}

/** Resolves a route's `proxy`; undefined where it has faults. */
export function resolveProxy(input: ProxyInput, context: ProxyContext): ProxyConfig | undefined {
  const { at, faults } = context
  const upstreams = upstreamsOf(input, context)
  const headers = resolveHeaders(input.headers, [...at, 'headers'], faults)
  checkStrip(input.strip, context)
  refuseRepeatedRates(input.limits.rates, context)
  const tls = tlsOf(input.tls, upstreams ?? [], context)
  if (input.http2 && input.websocket !== undefined) {
    faults.add([...at, 'websocket'], 'does not go with `http2`: WebSockets open by HTTP/1.1 alone')
  }
  if (upstreams === undefined || faults.within(at)) return undefined
  const { timeout, connectTimeout, retries, cookies, strip, prefix, http2 } = input
  const { websocket, limits } = input
  return {
    upstreams,
    tls,
    retries,
    cookies,
    headers,
    http2,
    strip: strip === '/' ? '' : (strip ?? ''),
    prefix: prefix === '/' ? '' : (prefix ?? ''),
    timeoutMs: timeout,
    connectTimeoutMs: Math.min(connectTimeout, timeout),
    websocket: websocket && { expiry: websocket.expiry, idleMs: websocket.idle },
    limits: {
      body: limits.body,
      headers: limits.headers,
      headerCount: limits.headerCount,
      idleMs: limits.idle,
      totalMs: limits.total,
      inFlight: limits.inFlight,
      rates: limits.rates.map(({ by, rate, burst = Math.max(1, Math.ceil(rate)) }) => ({
        by,
        rate,
        burst,
      })),
    },
  }
}

function upstreamsOf(
  { upstream, upstreams }: ProxyInput,
  { at, faults }: ProxyContext,
): readonly WeightedUpstream[] | undefined {
  if (upstream !== undefined && upstreams !== undefined) {
    faults.add([...at, 'upstreams'], 'stands beside `upstream`: only one of them can be meant')
    return undefined
  }
  if (upstream !== undefined) return [{ url: upstream, weight: 1 }]
  if (upstreams === undefined) {
    faults.add([...at, 'upstream'], 'is required, or `upstreams`')
    return undefined
  }
  for (const [index, { url }] of upstreams.entries()) {
    const first = upstreams.findIndex((other) => other.url === url)
    if (first === index) continue
    faults.add([...at, 'upstreams', index, 'url'], `repeats upstreams[${first}]: give it a weight`)
  }
  return upstreams
}

function refuseRepeatedRates(
  rates: ProxyInput['limits']['rates'],
  { at, faults }: ProxyContext,
): void {
  for (const [index, { by }] of rates.entries()) {
    const first = rates.findIndex((other) => other.by === by)
    if (first === index) continue
    faults.add([...at, 'limits', 'rates', index, 'by'], `repeats limits.rates[${first}]`)
  }
}

/** Only whole segments may be stripped, or else the rest could be read as another path. */
function checkStrip(strip: string | undefined, { match, at, faults }: ProxyContext): void {
  if (strip === undefined || match === undefined) return
  const path = [...at, 'strip']
  if (strip === '/') faults.add(path, 'takes nothing off')
  else if (match.path !== strip && !match.path.startsWith(`${strip}/`)) {
    faults.add(path, `must be the route's path (${match.path}) or whole segments at its beginning`)
  }
  if (match.pathParameters) faults.add(path, 'does not go with `match.pathParameters`')
}

function tlsOf(
  input: ProxyInput['tls'],
  upstreams: readonly WeightedUpstream[],
  context: ProxyContext,
): UpstreamTls | undefined {
  if (input === undefined) return undefined
  const { faults, bound } = context
  const at = [...context.at, 'tls']
  const here = { at, faults, folder: context.folder }
  if (upstreams.length > 0 && !upstreams.some(({ url }) => url.startsWith('https:'))) {
    faults.add(at, 'is of no use without an `https:` upstream')
  }
  if (input.certificate !== undefined && bound === 'mtls') {
    const what = 'does not go with `bound: mtls`, which shows the certificate of the API’s client'
    faults.add([...at, 'certificate'], what)
  }
  if (input.certificate === undefined && input.key !== undefined) {
    faults.add([...at, 'key'], 'is of no use without `certificate`')
  }
  const trusted =
    input.authorities === undefined ? undefined : materialOf(input.authorities, 'authorities', here)
  if (trusted !== undefined && !isCertificate(trusted.text)) {
    faults.add([...at, 'authorities'], 'must be certificates in PEM, or a file that holds them')
  }
  const identity = input.certificate === undefined ? undefined : identityOf(input, here)
  return { authorities: trusted?.text, identity }
}

function isCertificate(text: string): boolean {
  try {
    // The constructor throws for text that is no certificate.
    return new X509Certificate(text).raw.length > 0
  } catch {
    return false
  }
}

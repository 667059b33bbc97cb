import { Agent, request } from 'undici'

export interface OutboundOptions {
  /** The largest answer that is read, in bytes. Default 1 MiB. */
  readonly maxBytes?: number
  /** How long one request without a signal of its own may take in all, in milliseconds. Default 5 000. */
  readonly timeoutMs?: number
  /** The certificate that is shown to servers that ask for one. Default: none. */
  readonly identity?: Identity
  /** Authorities (PEM) that are trusted instead of Node's own. Default: Node's. */
  readonly authorities?: string
}

/** A certificate, with any intermediate ones after it, and its private key; both PEM. */
export interface Identity {
  readonly certificate: string
  readonly key: string
}

export interface OutboundRequest {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly headers?: Iterable<readonly [string, string]> | Readonly<Record<string, string>>
  readonly body?: string
  /** Replaces `timeoutMs`, and must abort eventually: nothing else bounds the request's time. */
  readonly signal?: AbortSignal | undefined
}

/**
 * How the gateway calls issuers: over connections that are kept alive, with limits on time and size. Does NOT follow
 * redirects, because nobody configured the host that they lead to. Does NOT decode content codings, so that the limit on the
 * size counts the bytes that are read into memory.
 */
export interface Outbound {
  fetch(url: string, init?: OutboundRequest): Promise<Response>
  close(): Promise<void>
}

export function createOutbound(options: OutboundOptions = {}): Outbound {
  const { maxBytes = 1024 * 1024, timeoutMs = 5_000, identity, authorities } = options
  const agent = new Agent({
    maxResponseSize: maxBytes,
    // Each request is bounded by its signal alone: these timeouts could end it before the signal does.
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
    connect: {
      timeout: Math.min(timeoutMs, 3_000),
      minVersion: 'TLSv1.2',
      ...(identity && { cert: identity.certificate, key: identity.key }),
      ...(authorities !== undefined && { ca: authorities }),
    },
  })
  return {
    async fetch(url, { method = 'GET', headers = {}, body, signal } = {}) {
      const answer = await request(url, {
        dispatcher: agent,
        method,
        headers: { 'user-agent': 'behalf', ...Object.fromEntries(pairsOf(headers)) },
        body: body ?? null,
        signal: signal ?? AbortSignal.timeout(timeoutMs),
      })
      const bytes = await answer.body.arrayBuffer()
      const answered = new Headers()
      for (const [name, value] of Object.entries(answer.headers)) {
        for (const one of [value ?? []].flat()) answered.append(name, one)
      }
      const { statusCode: status } = answer
      const bodiless = status === 204 || status === 205 || status === 304
      return new Response(bodiless ? null : bytes, { status, headers: answered })
    },
    close: () => agent.close(),
  }
}

function pairsOf(headers: NonNullable<OutboundRequest['headers']>): Iterable<[string, string]> {
  const pairs = Symbol.iterator in headers ? [...headers] : Object.entries(headers)
  return pairs.map(([name, value]) => [name.toLowerCase(), value])
}

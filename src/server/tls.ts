import { constants } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import type { Material, TlsConfig } from '../config/config.ts'

/** How long a handshake may take, in milliseconds, so that nobody holds connections without one. */
const HANDSHAKE_MS = 10_000

/**
 * An HTTP/1.1 server behind TLS. Any client certificate is accepted unless `clientAuthorities` are configured: a token is
 * bound to one certificate, whoever issued it (RFC 8705, section 3), and the handshake proves that the caller has its key.
 *
 * Does NOT speak HTTP/2 itself, though it agrees on it where that is configured, does NOT look at revocation lists, and
 * reads its files once: see `certificates.ts`.
 *
 * @throws {Error} a file cannot be read any more
 */
export function createTlsServer(tls: TlsConfig, options: http.ServerOptions): https.Server {
  const asks = tls.clientCertificates === 'request'
  const server = https.createServer({
    ...options,
    ...secureContextOf(tls),
    handshakeTimeout: HANDSHAKE_MS,
    ALPNProtocols: tls.http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
    requestCert: asks,
    rejectUnauthorized: false,
  })
  if (asks && tls.clientAuthorities !== undefined) {
    server.prependListener('secureConnection', refuseStranger)
  }
  // Node answers what is no TLS as malformed HTTP, and that answer would wait for a handshake that never ends.
  server.removeAllListeners('tlsClientError')
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  closeHandshakes(server)
  return server
}

/** The whole context: `setSecureContext` resets every option that it is not given. */
export interface ShownContext extends SecureContextOptions {
  readonly cert: string
  readonly key: string
  readonly ca?: string
  readonly minVersion: TlsConfig['minVersion']
}

/** @param read returns what a file or a text holds now */
export function secureContextOf(tls: TlsConfig, read = textOf): ShownContext {
  const { certificate, key, clientAuthorities, minVersion } = tls
  return {
    cert: read(certificate),
    key: read(key),
    ...(clientAuthorities && { ca: read(clientAuthorities) }),
    minVersion,
    // A renegotiation could change the client certificate of a connection that is known already. TLS 1.3 has none.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  }
}

function textOf(material: Material): string {
  return 'pem' in material ? material.pem : readFileSync(material.file, 'utf8')
}

/** Refuses a certificate of another authority. A caller without one goes on: its token may not need any. */
function refuseStranger(socket: TLSSocket): void {
  if (!socket.authorized && socket.getPeerX509Certificate() !== undefined) socket.destroy()
}

/** Node's `closeAllConnections` does not close connections whose handshake has not ended. */
function closeHandshakes(server: https.Server): void {
  const open = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  const closeAllConnections = server.closeAllConnections.bind(server)
  server.closeAllConnections = () => {
    closeAllConnections()
    for (const socket of open) socket.destroy()
  }
}

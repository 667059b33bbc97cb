import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import tls from 'node:tls'
import type { AdminConfig, Material } from '../config/config.ts'
import { adminOrigin } from './admin-origin.ts'

export interface AdminQuestion {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** In milliseconds. */
  readonly timeoutMs: number
}

/**
 * Sends a request to the admin listener of a configuration, and resolves with the status of its answer. Over TLS it accepts
 * only the configured certificate, whatever its name and issuer, and sends nothing to a server with another one.
 *
 * @throws {Error} there was no answer
 */
export async function askAdmin(admin: AdminConfig, question: AdminQuestion): Promise<number> {
  const { hostname, port } = new URL(adminOrigin(admin))
  const host = hostname.replace(/^\[|\]$/g, '')
  const signal = AbortSignal.timeout(question.timeoutMs)
  const socket = admin.tls && (await securely(admin.tls.certificate, { host, port, signal }))
  const { method, path, headers, body } = question
  return new Promise((resolve, reject) => {
    const request = http.request({
      host,
      port,
      method,
      path,
      headers,
      signal,
      ...(socket ? { createConnection: () => socket } : { agent: false }),
    })
    request.on('response', (response) => {
      resolve(response.statusCode ?? 0)
      // Only the status counts, and the body may never end.
      request.destroy()
    })
    request.on('error', reject)
    request.end(body)
  })
}

interface Reached {
  readonly host: string
  readonly port: string
  readonly signal: AbortSignal
}

async function securely(material: Material, reached: Reached): Promise<tls.TLSSocket> {
  const { host, port, signal } = reached
  const pem = 'pem' in material ? material.pem : readFileSync(material.file, 'utf8')
  // Node does not verify the certificate: it is compared below, before anything is sent.
  const socket = tls.connect({ host, port: Number(port), rejectUnauthorized: false })
  try {
    await once(socket, 'secureConnect', { signal })
    if (socket.getPeerX509Certificate()?.raw.equals(new X509Certificate(pem).raw)) return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
  socket.destroy()
  throw new Error('the admin listener does not show the certificate that is configured')
}

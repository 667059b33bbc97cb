import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type http from 'node:http'
import https from 'node:https'
import { createSecureContext } from 'node:tls'
import type { Config, Material, TlsConfig } from '../config/config.ts'
import { areCertificates } from '../config/material.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { secureContextOf, type ShownContext } from './tls.ts'
import { joinReadings, readingOf, watchFiles } from './watch.ts'

/** A listener by its name in the configuration. */
export type ListenerName = 'server' | 'admin' | 'endpoints.forwardAuth' | 'endpoints.token'

/** The certificates that the listeners of a process show. */
export interface Certificates {
  /** From now on the listener shows what its files hold, if it speaks TLS. */
  follow(name: ListenerName, server: http.Server, config: Config): void
  /** From now on all listeners show the files of another configuration. */
  use(config: Config): void
  /** What is wrong, in words for an operator. */
  ailments(): readonly string[]
  close(): void
}

export interface CertificatesOptions {
  readonly log: Log
  readonly metrics: Metrics
}

/**
 * Reads certificates and keys again when their files change, and shows them in later handshakes; open connections live on.
 * A pair that is half written or does not match changes nothing: it is logged, counted and among the ailments.
 */
export function createCertificates({ log, metrics }: CertificatesOptions): Certificates {
  const shown = new Map<ListenerName, Shown>()
  const watch = watchFiles({
    readings: () => joinReadings(Array.from(shown.values(), ({ readings }) => readings)),
    changed: async () => {
      for (const one of shown.values()) one.read()
    },
  })
  return {
    follow(name, server, config) {
      const tls = tlsOf(config)[name]
      if (tls === undefined || !(server instanceof https.Server)) return
      shown.set(name, new Shown(name, { server, tls, log, metrics }))
      watch.look()
    },
    use(config) {
      for (const [name, one] of shown) one.use(tlsOf(config)[name])
      watch.look()
    },
    ailments: () => [...shown.values()].flatMap((one) => one.ailments()),
    close: () => watch.close(),
  }
}

function tlsOf({ server, admin, endpoints }: Config): Record<ListenerName, TlsConfig | undefined> {
  return {
    server: server.tls,
    admin: admin.tls,
    'endpoints.forwardAuth': endpoints.forwardAuth?.tls,
    'endpoints.token': endpoints.token?.tls,
  }
}

interface ShownOptions {
  readonly server: https.Server
  readonly tls: TlsConfig
  readonly log: Log
  readonly metrics: Metrics
}

/** The certificate that one listener shows. */
class Shown {
  readonly readings = new Map<string, string | undefined>()
  readonly #name: ListenerName
  readonly #server: https.Server
  readonly #log: Log
  readonly #used
  readonly #refused
  #tls: TlsConfig
  #now: ShownContext
  #expiresAt: number
  #isRefused = false

  constructor(name: ListenerName, { server, tls, log, metrics }: ShownOptions) {
    this.#name = name
    this.#server = server
    this.#log = log
    this.#tls = tls
    const labels = { listener: name }
    metrics.sampled(
      'behalf_certificate_expires_timestamp_seconds',
      'When the first certificate of the chain that a listener shows expires, in seconds since 1970.',
      () => this.#expiresAt / 1_000,
      labels,
      'min',
    )
    const changes = (outcome: 'used' | 'refused') =>
      metrics.counter(
        'behalf_certificate_changes_total',
        'Certificates and keys that changed, by what became of them.',
        { ...labels, outcome },
      )
    this.#used = changes('used')
    this.#refused = changes('refused')
    // The listener was made from the files a moment ago, and they may have changed since.
    this.#now = this.#readAll()
    server.setSecureContext(this.#now)
    this.#expiresAt = expiryOf(this.#now)
  }

  use(tls: TlsConfig | undefined): void {
    // A door that a reload removed goes on with the certificate that it has.
    if (tls === undefined) return
    this.#tls = tls
    this.readings.clear()
    this.read()
  }

  /** Shows what the files hold, where that is valid and new. */
  read(): void {
    try {
      const next = this.#readAll()
      this.#isRefused = false
      if (isSame(next, this.#now)) return
      assertPair(next)
      createSecureContext(next)
      this.#server.setSecureContext(next)
      this.#now = next
      this.#expiresAt = expiryOf(next)
      this.#used.value++
      const expires = new Date(this.#expiresAt).toISOString()
      this.#log.logger.info({ listener: this.#name, expires }, 'another certificate is shown')
    } catch (error) {
      this.#isRefused = true
      this.#refused.value++
      this.#log.logger.error({ listener: this.#name, error }, 'a certificate cannot be used')
    }
  }

  ailments(): readonly string[] {
    const refused = 'what its files hold now is no certificate with its key, and is not used'
    return [
      ...(this.#isRefused ? [`${this.#name}.tls: ${refused}`] : []),
      ...(this.#expiresAt <= Date.now() ? [`${this.#name}.tls: the certificate has expired`] : []),
    ]
  }

  #readAll(): ShownContext {
    return secureContextOf(this.#tls, (material) => this.#textOf(material))
  }

  #textOf(material: Material): string {
    if ('pem' in material) return material.pem
    this.readings.set(material.file, undefined)
    const text = readFileSync(material.file, 'utf8')
    this.readings.set(material.file, readingOf(text))
    return text
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** When the first certificate of the chain expires, in epoch milliseconds. */
function expiryOf({ cert }: ShownContext): number {
  const chain = Array.from(cert.matchAll(CERTIFICATE), ([pem]) => new X509Certificate(pem))
  return Math.min(...chain.map(({ validTo }) => Date.parse(validTo)))
}

/** Checked here because OpenSSL accepts half a chain, and a key of another certificate until the first handshake. */
function assertPair({ cert, key, ca }: ShownContext): void {
  if (!areCertificates(cert)) throw new Error('the certificate is no whole one')
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new Error('the key is not of the certificate')
  }
  if (ca !== undefined && !areCertificates(ca)) {
    throw new Error('the authorities are no whole certificates')
  }
}

function isSame(one: ShownContext, other: ShownContext): boolean {
  return (['cert', 'key', 'ca', 'minVersion'] as const).every((name) => one[name] === other[name])
}

import { X509Certificate } from 'node:crypto'
import type { z } from 'zod'
import type { TlsConfig } from './config.ts'
import { identityOf, materialOf, type MaterialContext } from './material.ts'
import type { tls } from './tls-options.ts'

type TlsInput = NonNullable<z.output<typeof tls>>

/** TLS of a listener; undefined where something is wrong with it. */
export function resolveTls(input: TlsInput, context: MaterialContext): TlsConfig | undefined {
  const { at, faults } = context
  const { clientCertificates, clientAuthorities, minVersion, http2 } = input
  const identity = identityOf(input, context)
  if (clientAuthorities !== undefined && clientCertificates === 'none') {
    const message = 'is of no use without `clientCertificates: request`'
    faults.add([...at, 'clientAuthorities'], message)
  }
  const authorities =
    clientAuthorities === undefined
      ? undefined
      : materialOf(clientAuthorities, 'clientAuthorities', context)
  if (authorities !== undefined && !areCertificates(authorities.text)) {
    const message = 'must be certificates in PEM, or a file that holds them'
    faults.add([...at, 'clientAuthorities'], message)
  }
  if (identity === undefined || faults.within(at)) return undefined
  return {
    ...identity,
    clientCertificates,
    clientAuthorities: authorities?.material,
    minVersion,
    http2,
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** TLS passes over what it cannot read: an authority that nobody trusts would not be missed until somebody calls. */
function areCertificates(text: string): boolean {
  const found = text.match(CERTIFICATE) ?? []
  const begun = text.split('-----BEGIN ').length - 1
  return found.length > 0 && found.length === begun && found.every(isCertificate)
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0
  } catch {
    return false
  }
}

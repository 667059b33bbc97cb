import type { z } from 'zod'
import type { TlsConfig } from './config.ts'
import { areCertificates, identityOf, materialOf, type MaterialContext } from './material.ts'
import type { plainTls, tls } from './tls-options.ts'

type TlsInput = NonNullable<z.output<typeof plainTls>> & Partial<NonNullable<z.output<typeof tls>>>

/** Resolves a listener's `tls`; undefined where it has faults. Features that the listener has no option for are off. */
export function resolveTls(input: TlsInput, context: MaterialContext): TlsConfig | undefined {
  const { at, faults } = context
  const { clientCertificates = 'none', clientAuthorities, minVersion, http2 = false } = input
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

import type { z } from 'zod'
import type { NamedKey } from './config.ts'
import { materialOf, privateKeyOf, type MaterialContext } from './material.ts'
import type { apiSchema } from './schema.ts'

type KeysInput = NonNullable<z.output<typeof apiSchema>['decryptionKeys']>

const SMALLEST_RSA_BITS = 2_048

/** Resolves `decryptionKeys`; undefined where one of them has faults. */
export function resolveDecryptionKeys(
  input: KeysInput,
  { at, faults, folder }: MaterialContext,
): readonly NamedKey[] | undefined {
  const keys: NamedKey[] = []
  const kids = new Set<string>()
  for (const [index, entry] of input.entries()) {
    const isNamed = typeof entry !== 'string'
    const [written, kid] = isNamed ? [entry.key, entry.kid] : [entry, undefined]
    const context = { at: isNamed ? [...at, index] : at, faults, folder }
    const step = isNamed ? 'key' : index
    if (kid !== undefined && kids.has(kid)) faults.add([...at, index, 'kid'], 'is repeated')
    if (kid !== undefined) kids.add(kid)
    const read = materialOf(written, step, context)
    const key = read && privateKeyOf(read.text, step, context)
    if (read === undefined || key === undefined) continue
    const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = key
    if (type !== 'rsa' || (details.modulusLength ?? 0) < SMALLEST_RSA_BITS) {
      faults.add([...context.at, step], 'must be an RSA key of 2048 bits or more')
      continue
    }
    keys.push({ material: read.material, kid })
  }
  return faults.within(at) ? undefined : keys
}

import type { z } from 'zod'
import { resolveClient } from './clients.ts'
import type { Api, AsymmetricAlgorithm, Issuer, Verification } from './config.ts'
import { resolveDecryptionKeys } from './decryption.ts'
import type { Faults, Path } from './faults.ts'
import { many, mapping, part, unknownName, type Named } from './parts.ts'
import { resolvePossession } from './possession.ts'
import { resourceOf } from './resources.ts'
import { apiSchema } from './schema.ts'
import { isShort, weaknessOf } from './secrets.ts'

export function resolveApis(
  raw: Readonly<Record<string, unknown>>,
  issuers: Named<Issuer>,
  { faults, folder }: { readonly faults: Faults; readonly folder: string },
): Named<Api> {
  const apis = new Map<string, Api | undefined>()
  for (const [name, value] of Object.entries(raw)) {
    const path = ['apis', name]
    apis.set(name, undefined)
    const read = faults.within(path) ? undefined : part(apiSchema, value)
    const issuerName = mapping(value)['issuer']
    if (typeof issuerName === 'string' && issuerName !== '' && !issuers.has(issuerName)) {
      faults.add([...path, 'issuer'], unknownName('issuer', issuerName, issuers.keys()))
    }
    if (read === undefined) continue
    const verification = verificationOf(read, path, faults)
    const issuer = issuers.get(read.issuer)
    if (issuer === undefined || verification === undefined) continue
    const at = [...path, 'client']
    const client = read.client && resolveClient(read.client, { issuer, at, faults, folder })
    const possession =
      read.proofOfPossession &&
      resolvePossession(read.proofOfPossession, [...path, 'proofOfPossession'], faults)
    const keys =
      read.decryptionKeys &&
      resolveDecryptionKeys(read.decryptionKeys, {
        at: [...path, 'decryptionKeys'],
        faults,
        folder,
      })
    if (read.introspection && read.client === undefined) {
      faults.add([...path, 'introspection'], 'needs a `client`: who asks says who it is')
    }
    if (faults.within(path)) continue
    apis.set(name, {
      name,
      issuer,
      verification,
      audience: read.audience,
      typ: read.typ,
      clockToleranceMs: read.clockTolerance,
      client,
      resource:
        read.resource === undefined ? undefined : resourceOf(read.resource, read.scopesSupported),
      proofOfPossession: possession,
      ...(keys && { decryptionKeys: keys }),
      ...(read.introspection && { introspection: true }),
    })
  }
  return apis
}

type ApiInput = z.output<typeof apiSchema>

/** RFC 8725, section 3.1: the configuration decides what verifies a token, never the token. */
function verificationOf(api: ApiInput, path: Path, faults: Faults): Verification | undefined {
  const { algorithms, signingSecret, signingSecrets, dangerouslyShortSecret } = api
  const secretKey = signingSecret === undefined ? 'signingSecrets' : 'signingSecret'
  const hasSecret = signingSecret !== undefined || signingSecrets !== undefined
  if (signingSecret !== undefined && signingSecrets !== undefined) {
    faults.add(
      [...path, 'signingSecrets'],
      'stands beside `signingSecret`: only one of the two may',
    )
  }
  const secrets = [...many(signingSecret), ...many(signingSecrets)]
  for (const [index, secret] of secrets.entries()) {
    const at = signingSecret === undefined ? [...path, secretKey, index] : [...path, secretKey]
    const weakness = weaknessOf(secret, dangerouslyShortSecret)
    if (weakness !== undefined) faults.add(at, weakness)
  }
  if (dangerouslyShortSecret && !secrets.some(isShort)) {
    faults.add([...path, 'dangerouslyShortSecret'], 'is of no use: no secret is short')
  }
  const symmetric = algorithms?.includes('HS256') ?? hasSecret
  const asymmetric = (algorithms ?? (hasSecret ? [] : ['RS256'])).filter(isAsymmetric)
  if (symmetric && asymmetric.length > 0) {
    faults.add([...path, 'algorithms'], 'must not mix `HS256` with algorithms of a key set')
  } else if (symmetric && !hasSecret) {
    faults.add([...path, 'algorithms'], '`HS256` needs a `signingSecret`')
  } else if (!symmetric && hasSecret) {
    faults.add([...path, secretKey], 'is of no use without `HS256` in `algorithms`')
  }
  if (faults.within(path)) return undefined
  return symmetric ? { kind: 'secret', secrets } : { kind: 'jwks', algorithms: asymmetric }
}

function isAsymmetric(algorithm: string): algorithm is AsymmetricAlgorithm {
  return algorithm !== 'HS256'
}

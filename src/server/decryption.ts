import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { decryptionKeys, type DecryptionKeys } from '../authenticate/decrypt.ts'
import type { Material, NamedKey } from '../config/config.ts'
import { current, type Current, reread } from '../exchange/reread.ts'

/**
 * The keys that tokens are decrypted with. When a file is replaced, its former key is forgotten within a second, and with it
 * all that is remembered of tokens that it decrypted.
 */
export function currentDecryptionKeys(named: readonly NamedKey[]): Current<DecryptionKeys> {
  const files = named.map(({ material, kid }) => ({
    kid,
    now: reread(material, (pem) => createPrivateKey(pem)),
  }))
  let known: DecryptionKeys | undefined

  async function fresh(): Promise<DecryptionKeys> {
    const keys = await Promise.all(files.map(async ({ kid, now }) => ({ kid, key: await now() })))
    const isSame = known?.keys.every(({ key }, index) => key === keys[index]?.key)
    return isSame && known !== undefined ? known : (known = decryptionKeys(keys))
  }
  const first = (): DecryptionKeys =>
    decryptionKeys(
      named.map(({ material, kid }) => ({ kid, key: createPrivateKey(textOf(material)) })),
    )
  return current(fresh, first)
}

function textOf(material: Material): string {
  return 'pem' in material ? material.pem : readFileSync(material.file, 'utf8')
}

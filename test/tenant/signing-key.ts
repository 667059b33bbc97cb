import { generateKeyPairSync } from 'node:crypto'

/** One for all tenants of a test file: to make one takes a tenth of a second, and longer than most tests. */
export const signingKey = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()

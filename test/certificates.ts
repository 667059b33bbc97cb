/** Certificates that a test makes for itself, with the machine's openssl. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Why tests that need certificates cannot run here; false where they can. */
export const NO_OPENSSL = ((): string | false => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore', timeout: 10_000 })
    return false
  } catch {
    return 'openssl is not on this machine'
  }
})()

export interface Pair {
  readonly certificate: string
  readonly key: string
}

export interface Authority {
  readonly certificate: string
  /** Of this common name, good for 127.0.0.1 as a server and a client. */
  issue(name: string): Pair
}

/** An authority that nobody trusts by default. */
export function createAuthority(name = 'authority'): Authority {
  const root = made([
    '-x509',
    '-subj',
    `/CN=${name}`,
    '-addext',
    'basicConstraints=critical,CA:TRUE',
  ])
  return {
    certificate: root.certificate,
    issue: (subject) => made(['-subj', `/CN=${subject}`], root),
  }
}

/** One that vouches for itself. */
export function selfSigned(name: string): Pair {
  return made(['-x509', '-subj', `/CN=${name}`])
}

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

function made(options: readonly string[], signer?: Pair): Pair {
  const folder = mkdtempSync(join(tmpdir(), 'behalf-certificates-'))
  const at = (name: string): string => join(folder, name)
  const run = (...words: string[]): void => {
    execFileSync('openssl', words, { stdio: 'ignore', timeout: 30_000 })
  }
  try {
    const days = signer === undefined ? ['-days', '2'] : []
    run('req', ...CURVE, '-keyout', at('key'), '-out', at('out'), ...days, ...options)
    if (signer !== undefined) {
      writeFileSync(at('root'), signer.certificate)
      writeFileSync(at('root-key'), signer.key)
      writeFileSync(at('extensions'), 'subjectAltName=IP:127.0.0.1\n')
      const by = ['-CA', at('root'), '-CAkey', at('root-key'), '-CAcreateserial', '-days', '2']
      const more = ['-extfile', at('extensions'), '-out', at('signed')]
      run('x509', '-req', '-in', at('out'), ...by, ...more)
    }
    const certificate = readFileSync(at(signer === undefined ? 'out' : 'signed'), 'utf8')
    return { certificate, key: readFileSync(at('key'), 'utf8') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

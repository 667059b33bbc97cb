/** The command line, as a process of its own. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface Setting {
  readonly cwd?: string
  /** Beside what a process needs to run at all. */
  readonly environment?: Readonly<Record<string, string>>
}

/** Runs `behalf` to its end. */
export function behalf(
  argv: readonly string[],
  { cwd = '/', environment = {} }: Setting = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env['PATH'], ...environment }
    const child = spawn(process.execPath, [MAIN, ...argv], { cwd, env, timeout: 60_000 })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}

export const YAML = `issuers:
  tenant: { issuer: https://tenant.example/, profile: auth0 }
apis:
  storefront:
    issuer: tenant
    audience: https://storefront.example
    client: { id: storefront, secret: "\${CLIENT_SECRET}" }
routes:
  - name: orders
    match: { path: /orders, methods: [GET] }
    authenticate: { api: storefront }
    authorize: { scopes: [read:orders] }
    exchange: { audience: https://orders.internal, scopes: [orders:read] }
    proxy: { upstream: http://127.0.0.1:9001 }
`

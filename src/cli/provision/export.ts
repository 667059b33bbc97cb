import { curlScript } from '../../provision/export/curl.ts'
import { deployCli } from '../../provision/export/deploy-cli.ts'
import type { Exported } from '../../provision/export/objects.ts'
import { terraform } from '../../provision/export/terraform.ts'

const EXPORTS: Readonly<Record<string, (exported: Exported) => string>> = {
  terraform,
  curl: curlScript,
  'auth0-deploy-cli': deployCli,
}

/** What prints a plan for people whose tenant is managed elsewhere; undefined for formats of our own. */
export function exportOf(format: string): ((exported: Exported) => string) | undefined {
  return EXPORTS[format]
}

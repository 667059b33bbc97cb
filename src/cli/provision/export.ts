import { curlScript } from '../../provision/export/curl.ts'
import { deployCli } from '../../provision/export/deploy-cli.ts'
import type { Exported } from '../../provision/export/objects.ts'
import { terraform } from '../../provision/export/terraform.ts'

const EXPORTS: Readonly<Record<string, (exported: Exported) => string>> = {
  terraform,
  curl: curlScript,
  'auth0-deploy-cli': deployCli,
}

/** Prints a plan for another tool that manages the tenant; undefined for the formats of `provision` itself. */
export function exportOf(format: string): ((exported: Exported) => string) | undefined {
  return EXPORTS[format]
}

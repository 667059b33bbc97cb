import { existsSync, readFileSync } from 'node:fs'

/** The folder of this package, also when the code runs from a folder below `dist-test`. */
export function packageFolder(): URL {
  for (let folder = new URL('./', import.meta.url); ; folder = new URL('../', folder)) {
    if (existsSync(new URL('package.json', folder))) return folder
    if (folder.pathname === '/') throw new Error('behalf is not installed whole: no package.json')
  }
}

export function packageVersion(): string {
  const text = readFileSync(new URL('package.json', packageFolder()), 'utf8')
  const { version } = JSON.parse(text) as { readonly version: string }
  return version
}

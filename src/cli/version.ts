import { defineCommand, EXIT } from './command.ts'
import { packageVersion } from './package.ts'

export const command = defineCommand({
  summary: 'Print the version of Behalf; with `--format json`, also that of Node.',
  configuration: 'none',
  flags: {},
  formats: ['text', 'json'],
  async run({ format }) {
    const version = packageVersion()
    const json = JSON.stringify({ behalf: version, node: process.versions.node })
    process.stdout.write(`${format === 'json' ? json : version}\n`)
    return EXIT.well
  },
})

import { configurationReference, publishedSchema } from '../config/reference.ts'
import { defineCommand, EXIT } from './command.ts'

export const command = defineCommand({
  summary:
    'Print the JSON Schema of the configuration (`behalf.schema.json`), or its reference (`docs/configuration.md`).',
  flags: {},
  formats: ['json', 'markdown'],
  async run({ format }) {
    process.stdout.write(format === 'markdown' ? configurationReference() : publishedSchema())
    return EXIT.well
  },
})

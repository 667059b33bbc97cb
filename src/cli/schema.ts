import { configurationReference, publishedSchema } from '../config/reference.ts'
import { defineCommand, EXIT } from './command.ts'

export const command = defineCommand({
  summary: 'Print the JSON Schema of the configuration, or its reference in Markdown.',
  configuration: 'none',
  flags: {},
  formats: ['json', 'markdown'],
  async run({ format }) {
    process.stdout.write(format === 'markdown' ? configurationReference() : publishedSchema())
    return EXIT.well
  },
})

import http from 'node:http'
import { loadConfig } from '../config/load.ts'
import { adminOrigin } from './admin-origin.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'

const TIMEOUT_MS = 2_000

/** For containers: no shell and no curl is needed to ask. */
export const command = defineCommand({
  summary: 'Ask the admin listener for /livez: exit 0 on a 200 within 2 s, else 1.',
  flags: {
    url: {
      type: 'string',
      value: 'URL',
      summary: 'what to ask instead; the file is not read then',
    },
  },
  async run({ config, flags }) {
    const url = flags.url ?? `${adminOrigin((await loadConfig(config)).admin.listen)}/livez`
    if (!/^http:\/\//.test(url) || !URL.canParse(url)) {
      throw new UsageError('--url must be an `http:` URL')
    }
    const problem = await problemOf(url)
    process.stdout.write(`${problem ?? 'ok'}\n`)
    return problem === undefined ? EXIT.well : EXIT.failed
  },
})

function problemOf(url: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = http.get(url, { agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) })
    request.on('response', (response) => {
      response.resume()
      const { statusCode = 0 } = response
      resolve(statusCode === 200 ? undefined : `${url} was answered ${statusCode}`)
      // Nobody waits for a body that may never end.
      request.destroy()
    })
    request.on('error', ({ name, message }) =>
      resolve(name === 'AbortError' ? `${url} was not answered in time` : message),
    )
  })
}

import http from 'node:http'
import { loadConfig } from '../config/load.ts'
import { adminOrigin } from './admin-origin.ts'
import { askAdmin } from './ask-admin.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'

const TIMEOUT_MS = 2_000

/** For containers, which need no shell and no curl for it. */
export const command = defineCommand({
  summary: 'Ask the admin listener for /livez: exit 0 on a 200 within 2 s, else 1.',
  flags: {
    url: {
      type: 'string',
      value: 'URL',
      summary: 'the URL to ask instead, without reading the configuration',
    },
  },
  async run({ config, flags }) {
    const problem =
      flags.url === undefined ? await configured(config) : await problemOf(flags.url, plain)
    process.stdout.write(`${problem ?? 'ok'}\n`)
    return problem === undefined ? EXIT.well : EXIT.failed
  },
})

async function configured(file: string): Promise<string | undefined> {
  const { admin } = await loadConfig(file)
  const path = '/livez'
  return problemOf(`${adminOrigin(admin)}${path}`, () =>
    askAdmin(admin, { method: 'GET', path, timeoutMs: TIMEOUT_MS }),
  )
}

async function problemOf(
  url: string,
  ask: (url: string) => Promise<number>,
): Promise<string | undefined> {
  try {
    const status = await ask(url)
    return status === 200 ? undefined : `${url} was answered ${status}`
  } catch (error) {
    if (error instanceof UsageError) throw error
    const { name, message } = error as Error
    return name === 'AbortError' ? `${url} was not answered in time` : message
  }
}

function plain(url: string): Promise<number> {
  if (!/^http:\/\//.test(url) || !URL.canParse(url)) {
    throw new UsageError('--url must be an `http:` URL')
  }
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) })
    request.on('response', (response) => {
      resolve(response.statusCode ?? 0)
      // Only the status counts, and the body may never end.
      request.destroy()
    })
    request.on('error', reject)
  })
}

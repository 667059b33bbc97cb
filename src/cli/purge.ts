import { loadConfig } from '../config/load.ts'
import { askAdmin } from './ask-admin.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'

const TIMEOUT_MS = 5_000

/** Makes a running gateway forget issued tokens. Needs the token of its admin listener. */
export const command = defineCommand({
  summary:
    'Make a running gateway forget the issued tokens of a subject, a session, a client or an issuer.',
  flags: {
    subject: {
      type: 'string',
      value: 'SUB',
      summary: 'tokens of this subject (`sub`), at --issuer or every issuer',
    },
    sid: {
      type: 'string',
      value: 'SID',
      summary: 'tokens of this session (`sid`), at --issuer or every issuer',
    },
    client: {
      type: 'string',
      value: 'ID',
      summary: 'tokens issued to or exchanged by this client',
    },
    issuer: {
      type: 'string',
      value: 'ISS',
      summary: 'tokens of this issuer; without other flags, all of them',
    },
    url: {
      type: 'string',
      value: 'URL',
      summary: 'origin of the admin listener (default: from the configuration)',
    },
  },
  async run({ config: file, flags: { url, ...flags } }) {
    const named = Object.entries(flags).filter(([, value]) => value !== undefined)
    if (named.length === 0)
      throw new UsageError('name what to forget: --subject, --sid, --client or --issuer')
    const { admin } = await loadConfig(file)
    if (admin.token === undefined) {
      throw new UsageError(
        'the admin listener has no `admin.token`, and without one it takes no purge',
      )
    }
    const question = {
      method: 'POST',
      headers: { authorization: `Bearer ${admin.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(Object.fromEntries(named)),
    } as const
    const status =
      url === undefined
        ? await askAdmin(admin, { ...question, path: '/purge', timeoutMs: TIMEOUT_MS })
        : await asked(new URL('/purge', url), question)
    if (status === 204) {
      process.stdout.write('purged\n')
      return EXIT.well
    }
    process.stderr.write(`behalf: the gateway answered ${status}\n`)
    return EXIT.failed
  },
})

/** The certificate at a URL from the command line is not in the configuration, so Node verifies it as usual. */
async function asked(url: URL, question: RequestInit): Promise<number> {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const { status } = await fetch(url, { ...question, redirect: 'error', signal })
  return status
}

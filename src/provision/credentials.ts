import type { Blank } from './blanks.ts'
import { ProvisionError } from './failure.ts'
import type { Fields } from './merge.ts'
import type { Present } from './present.ts'

/** Values by the names of variables. */
export type Variables = Readonly<Record<string, string>>

/**
 * The keys and secrets that are generated here. Store them before the tenant gets them, so that they are not lost if the run
 * is interrupted.
 */
export function ownCredentials(
  blanks: readonly Blank[],
  isThere: (api: string) => boolean,
): Variables {
  const own = blanks.filter(
    ({ api, option }) => option === 'privateKey' || (option === 'signingSecret' && !isThere(api)),
  )
  return Object.fromEntries(own.map(({ variable, standIn }) => [variable, standIn]))
}

/** The credentials of one API's client that the tenant returned. */
export function clientCredentials(
  blanks: readonly Blank[],
  api: string,
  client: Fields,
): Variables {
  const told: Readonly<Record<string, unknown>> = {
    id: client['client_id'],
    secret: client['client_secret'],
  }
  const found = blanks.flatMap((blank) => {
    const value = blank.api === api ? told[blank.option] : undefined
    return typeof value === 'string' ? [[blank.variable, value]] : []
  })
  return Object.fromEntries(found) as Variables
}

/**
 * The values of all unset variables, as the tenant shows them.
 *
 * @param audiences of the APIs, by name
 * @throws {ProvisionError} `management_refused` if the tenant does not show one of them
 */
export function toldCredentials(
  blanks: readonly Blank[],
  { clients, servers }: Present,
  audiences: ReadonlyMap<string, string>,
): Variables {
  const told: Record<string, string> = {}
  for (const { api, option, variable } of blanks) {
    if (option === 'privateKey') continue
    const client = clients.get(api)
    const server = servers.get(audiences.get(api) ?? '')
    const value = {
      id: client?.id,
      secret: client?.fields['client_secret'],
      signingSecret: server?.['signing_secret'],
    }[option]
    if (typeof value === 'string') told[variable] = value
    else unknown(variable, api, option)
  }
  return told
}

function unknown(variable: string, api: string, option: string): never {
  const why = option === 'secret' ? '; the scope read:client_keys shows it' : ''
  throw new ProvisionError(
    'management_refused',
    `the tenant does not tell ${variable} of ${api}${why}`,
  )
}

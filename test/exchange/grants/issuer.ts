/** A token endpoint on loopback that answers as a provider documents it, and our exchange with it. */
import type { TestContext } from 'node:test'
import type { Client, ProfileName } from '../../../src/config/config.ts'
import { createExchange, type Exchange } from '../../../src/exchange/exchange.ts'
import { createOutbound } from '../../../src/outbound.ts'
import type { Permit } from '../../../src/authorize/authorize.ts'
import { api, issuer, listen, permit } from '../../support.ts'

export const CLIENT: Client = { id: 'gateway', method: 'client_secret_post', secret: 'secret' }

export interface Answer {
  readonly status?: number
  readonly body: object
}

/** What one request said: its form in the order of names, and how the client authenticated. */
export interface Asked {
  readonly authorization: string | undefined
  readonly form: readonly (readonly [string, string])[]
}

export async function issuerThat(
  context: TestContext,
  answers: (form: URLSearchParams) => Answer,
): Promise<{ exchange: Exchange; asked: Asked[] }> {
  const asked: Asked[] = []
  const origin = await listen(context, (request, response) => {
    let text = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => (text += chunk))
    request.on('end', () => {
      const form = new URLSearchParams(text)
      const { status = 200, body } = answers(form)
      form.sort()
      asked.push({ authorization: request.headers.authorization, form: [...form] })
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  const outbound = createOutbound()
  context.after(() => outbound.close())
  return {
    exchange: createExchange({ tokenEndpointOf: async () => `${origin}/token`, outbound }),
    asked,
  }
}

interface Given {
  readonly profile: ProfileName
  readonly identifiers?: readonly string[]
  readonly claims?: Readonly<Record<string, unknown>>
  readonly exchange: object
  readonly client?: Client
}

/** A subject of an API whose issuer is of this kind. */
export function permitAt({ profile, claims, exchange, client = CLIENT, ...given }: Given): Permit {
  const identifiers = given.identifiers ?? ['https://issuer.example/']
  const owner = api({ client, issuer: issuer({ profile, identifiers }) })
  const own = { iss: identifiers[0]!, sub: 'alice', ...claims }
  return permit({
    subject: { value: 'the.subject.token', api: owner, issuer: identifiers[0]!, claims: own },
    route: { authenticate: { apis: [owner] }, exchange: { audience: undefined, ...exchange } },
  })
}

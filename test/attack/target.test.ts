/** One account that brings misfortune: what fails for it alone closes a target to nobody else. */
import assert from 'node:assert/strict'
import type http from 'node:http'
import { test, type TestContext } from 'node:test'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { bearer, claimsOf, oneRoute, startGateway, startUpstream, type Gateway } from '../system.ts'

type Answer = (issuer: TestIssuer, response: http.ServerResponse) => unknown

interface World {
  readonly gateway: Gateway
  readonly issuer: TestIssuer
  status(user: string): Promise<number>
}

/** Of users whose name begins with `odd` the issuer makes something else than of others. */
async function world(t: TestContext, odd: Answer): Promise<World> {
  const issuer = await startIssuer(t)
  issuer.answer = (form, response) => {
    const { sub } = claimsOf(`Bearer ${form.get('subject_token')}`)
    if (!String(sub).startsWith('odd')) return issuer.issue(form, response)
    odd(issuer, response)
    return undefined
  }
  const { origin: upstream } = await startUpstream(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream }))
  const tokens = new Map<string, string>()
  return {
    ...{ gateway, issuer },
    async status(user) {
      const token = tokens.get(user) ?? (await issuer.token({ sub: user }))
      tokens.set(user, token)
      const answer = await fetch(`${gateway.origin}/orders`, bearer(token))
      await answer.arrayBuffer()
      return answer.status
    },
  }
}

/** A name of half a character, which the issuer writes into its tokens as it was given. */
const unfit: Answer = (issuer, response) => {
  void issuer
    .sign({ sub: 'odd', aud: 'https://orders.internal', name: '\ud800' })
    .then((access_token) => {
      response.setHeader('content-type', 'application/json')
      const issued_token_type = 'urn:ietf:params:oauth:token-type:access_token'
      response.end(JSON.stringify({ access_token, issued_token_type, token_type: 'Bearer' }))
    })
}

/** A token that is larger than the firewall before the issuer takes. */
const tooLarge: Answer = (_issuer, response) => {
  response.writeHead(413, { 'content-type': 'text/html' }).end('<h1>Too large</h1>')
}

for (const [what, odd] of [
  ['a token that cannot be read in one way', unfit],
  ['a refusal that is no OAuth', tooLarge],
] as const) {
  test(`${what} is one user’s misfortune, and costs it one exchange in five seconds`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const { issuer, status } = await world(t, odd)
    assert.equal(await status('alice'), 200)
    for (let request = 0; request < 12; request++) assert.equal(await status('odd'), 502)
    assert.equal(issuer.exchanges.length, 2)

    assert.equal(await status('bob'), 200)

    t.mock.timers.tick(5_001)
    assert.equal(await status('odd'), 502)
    assert.equal(issuer.exchanges.length, 4)
    assert.equal(await status('carol'), 200)
  })
}

test('what ten users meet one after the other is the target’s, and nobody asks until that is mended', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const { issuer, status } = await world(t, tooLarge)
  for (let user = 1; user < 10; user++) assert.equal(await status(`odd ${user}`), 502)
  assert.equal(await status('alice'), 200)
  for (let user = 1; user < 10; user++) assert.equal(await status(`odd one ${user}`), 502)
  assert.equal(await status('bob'), 200)
  for (let user = 1; user <= 10; user++) assert.equal(await status(`odd two ${user}`), 502)
  const { length } = issuer.exchanges

  assert.equal(await status('carol'), 502)

  assert.equal(issuer.exchanges.length, length)
  t.mock.timers.tick(1_000)
  assert.equal(await status('carol'), 200)
})

import express from 'express'
import { authenticate, gateway, onBehalfOf } from '../../src/index.ts'

export async function createApp(configuration: string) {
  const behalf = await gateway(configuration)
  const app = express()

  // Whose request it is. Nothing is exchanged.
  app.get('/me', authenticate(behalf, 'orders'), (request, response) => {
    const { subject, scopes } = request.behalf!
    response.json({ user: subject, scopes: [...scopes] })
  })

  // A token for the orders service, to call it with.
  app.get('/latest', onBehalfOf(behalf, 'orders'), async (request, response) => {
    const url = new URL('/orders', process.env['ORDERS_ORIGIN'])
    const orders = await fetch(url, { headers: request.behalf!.token.headersFor('GET', url) })
    response.status(orders.status).json(await orders.json())
  })

  // Two services in one handler.
  app.get(
    '/overview',
    onBehalfOf(behalf, 'orders'),
    onBehalfOf(behalf, 'inventory'),
    (request, response) => {
      const { tokens } = request.behalf!
      response.json({ for: [...tokens.keys()], soonest: soonest([...tokens.values()]) })
    },
  )

  // Everything else below /api goes through the proxy.
  app.use('/api', behalf)
  return { app, close: () => behalf.close() }
}

function soonest(tokens: readonly { readonly expiresAt: number }[]): Date {
  return new Date(Math.min(...tokens.map(({ expiresAt }) => expiresAt)))
}

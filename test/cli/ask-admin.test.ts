import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { adminOrigin } from '../../src/cli/admin-origin.ts'
import { askAdmin } from '../../src/cli/ask-admin.ts'
import { createMetrics } from '../../src/metrics.ts'
import { createAdmin } from '../../src/server/admin.ts'
import { createServer } from '../../src/server/listener.ts'

const NO_IPV6 = await new Promise<string | false>((resolve) => {
  const server = net.createServer().once('error', () => resolve('there is no IPv6 here'))
  server.listen(0, '::1', () => server.close(() => resolve(false)))
})

for (const host of ['127.0.0.1', '0.0.0.0', 'localhost', 'LOCALHOST', '::1', '::']) {
  test(
    `the admin listener on ${host} answers what the commands ask it, with no host listed`,
    { skip: host.includes(':') && NO_IPV6 },
    async (t) => {
      const port = { now: 0 }
      const token = 'an admin token'
      const admin = () => ({ listen: { host, port: port.now }, token, allowedHosts: [] })
      const purged: unknown[] = []
      const never = async (): Promise<never> => Promise.reject(new Error('nobody asks'))
      const app = createAdmin({
        ...{ admin, metrics: createMetrics(), ready: () => true, ailments: () => [] },
        ...{ purge: (what) => purged.push(what), explain: never, reload: never },
      })
      const server = createServer(app).listen(0, host)
      await once(server, 'listening')
      t.after(() => {
        server.closeAllConnections()
        server.close()
      })
      port.now = (server.address() as AddressInfo).port
      const asked = { path: '/livez', method: 'GET', timeoutMs: 30_000 } as const
      assert.equal(await askAdmin(admin(), asked), 200)
      const purge = {
        ...({ method: 'POST', path: '/purge', timeoutMs: 30_000 } as const),
        body: '{"subject":"alice"}',
        headers: { authorization: `Bearer ${token}` },
      } as const
      assert.equal(await askAdmin(admin(), purge), 204)
      assert.deepEqual(purged, [{ subject: 'alice' }])
      // And what --url names: fetch asks by the host of the URL.
      const { status } = await fetch(`${adminOrigin(admin())}/metrics`)
      assert.equal(status, 200)
    },
  )
}

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'
import type { Config } from '../../config/config.ts'
import { loadConfig, type LoadOptions } from '../../config/load.ts'
import { createLog } from '../../log.ts'
import { createBlanks } from '../../provision/blanks.ts'
import { serve, type Serving } from '../../server/serve.ts'
import { seedPeople } from '../../tenant/seed.ts'
import { createTenant, type Tenant } from '../../tenant/tenant.ts'
import { packageFolder } from '../package.ts'
import { setUp, type SetUp, type Unset } from './set-up.ts'
import { startService, type Service } from './service.ts'

/** Where the configuration is, from the folder of the package. */
export const CONFIGURATION = 'deploy/demo/behalf.yaml'

type Overrides = Readonly<Record<string, unknown>>

/** Everyone who plays in the demonstration. */
export interface Cast {
  readonly tenant: Tenant
  readonly orders: Service
  readonly inventory: Service
  readonly gateway: Serving
  /** How the tenant came by the objects that the routes need. */
  readonly setUp: SetUp
  /** Whether somebody had to take another port than the configuration says. */
  readonly isElsewhere: boolean
  close(): Promise<void>
}

/**
 * Starts them on the ports of the demonstration's configuration where these are free, else on others, with the
 * configuration overridden accordingly. Nothing of the caller's environment has a say.
 *
 * @param log told of each line that the gateway writes
 */
export async function startCast(log: (line: string) => void): Promise<Cast> {
  const started: { close(): Promise<unknown> }[] = []
  const close = async (): Promise<void> => {
    for (const one of started.splice(0).reverse()) await one.close()
  }
  try {
    const written = await configuration({}, await exampleVariables())
    const usual = portsOf(written)
    const tenant = await atPort(usual.tenant, (port) =>
      createTenant({ listen: `127.0.0.1:${port}`, empty: true, seed: seedPeople }),
    )
    started.push(tenant)
    const orders = await atPort(usual.orders, (port) => startService('orders', port))
    started.push(orders)
    const inventory = await atPort(usual.inventory, (port) => startService('inventory', port))
    started.push(inventory)
    const origins = new Map([
      [originAt(usual.orders), orders.origin],
      [originAt(usual.inventory), inventory.origin],
    ])
    const overrides = { 'issuers.tenant.issuer': tenant.url, ...upstreams(written, origins) }
    const done = await setUp(tenant, await unsetConfiguration(overrides))
    const gateway = await startGateway(usual, { overrides, environment: done.variables }, log)
    started.push(gateway)
    const actual = [tenant.url, orders.origin, inventory.origin, gateway.origin]
    const isElsewhere =
      actual.map(portOf).join() !==
      [usual.tenant, usual.orders, usual.inventory, usual.gateway].join()
    return { tenant, orders, inventory, gateway, setUp: done, isElsewhere, close }
  } catch (error) {
    await close()
    throw error
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/** Reads the configuration with these variables, and no others. */
async function configuration(
  overrides: Overrides,
  environment: Environment,
  more: LoadOptions = {},
): Promise<Config> {
  const file = fileURLToPath(new URL(CONFIGURATION, packageFolder()))
  return loadConfig(file, { ...more, overrides, environment })
}

async function exampleVariables(): Promise<Environment> {
  return parseEnv(await readFile(new URL('.env.example', packageFolder()), 'utf8'))
}

/** As it is before anybody knows what its variables will be. What is empty hides a file of variables beside it. */
async function unsetConfiguration(overrides: Overrides): Promise<Unset> {
  const { list: blanks, ...reading } = createBlanks()
  const names = Object.keys(await exampleVariables())
  const unset = Object.fromEntries(names.map((name) => [name, '']))
  return { blanks, config: await configuration(overrides, unset, reading) }
}

interface Ports {
  readonly tenant: number
  readonly orders: number
  readonly inventory: number
  readonly gateway: number
  readonly admin: number
}

function portsOf({ issuers, routes, server, admin }: Config): Ports {
  const upstream = (route: string): string =>
    named(routes, route).proxy.upstreams.map(({ url }) => url)[0]!
  return {
    tenant: portOf(String(named(issuers, 'tenant').identifiers[0])),
    orders: portOf(upstream('orders')),
    inventory: portOf(upstream('inventory')),
    gateway: server.listen.port,
    admin: admin.listen.port,
  }
}

function named<Value extends { readonly name: string }>(
  values: readonly Value[],
  name: string,
): Value {
  const value = values.find((one) => one.name === name)
  if (value === undefined) throw new TypeError(`${CONFIGURATION} lacks ${name}`)
  return value
}

function portOf(url: string): number {
  return Number(new URL(url).port)
}

function originAt(port: number): string {
  return `http://127.0.0.1:${port}`
}

/** Where the routes' services are instead. */
function upstreams({ routes }: Config, origins: ReadonlyMap<string, string>): Overrides {
  const moved = routes.flatMap(({ proxy }, index) =>
    proxy.upstreams.map(({ url }) => [`routes[${index}].proxy.upstream`, origins.get(url) ?? url]),
  )
  return Object.fromEntries(moved) as Overrides
}

async function startGateway(
  { gateway, admin }: Ports,
  { overrides, environment }: { readonly overrides: Overrides; readonly environment: Environment },
  log: (line: string) => void,
): Promise<Serving> {
  return atPort(gateway, async (port) => {
    const isUsual = port === gateway
    const own = isUsual ? port : await freePort()
    const places = {
      'server.listen': `127.0.0.1:${own}`,
      'server.publicOrigin': originAt(own),
      'admin.listen': `127.0.0.1:${isUsual ? admin : 0}`,
    }
    const config = await configuration({ ...overrides, ...places }, environment)
    return serve(config, { log: createLog({ destination: { write: log } }) })
  })
}

/** The usual port where it is free, else any: two demonstrations may run at once. */
async function atPort<Started>(
  usual: number,
  start: (port: number) => Promise<Started>,
): Promise<Started> {
  try {
    return await start(usual)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return start(0)
  }
}

/** For whoever must know it before it listens. */
async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

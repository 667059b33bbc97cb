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

/** The path of the configuration, relative to the package's folder. */
export const CONFIGURATION = 'deploy/demo/behalf.yaml'

type Overrides = Readonly<Record<string, unknown>>

/** All parts of the demonstration. */
export interface Cast {
  readonly tenant: Tenant
  readonly orders: Service
  readonly inventory: Service
  readonly gateway: Serving
  /** How the objects that the routes need were created in the tenant. */
  readonly setUp: SetUp
  /** Whether a part listens on another port than the configuration says. */
  readonly isElsewhere: boolean
  close(): Promise<void>
}

/**
 * Starts all parts on the ports of the demonstration's configuration if these are free, else on others, and overrides the
 * configuration accordingly. Ignores the environment of the process.
 *
 * @param log called with each line that the gateway writes
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

/** Reads the configuration before its variables have values. Empty ones take precedence over a `.env` beside it. */
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

/** Overrides the upstreams of routes with the origins of the services. */
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

/** Starts on the usual port if it is free, else on any, so that two demonstrations can run at once. */
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

/** For a part whose port must be known before it listens. */
async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

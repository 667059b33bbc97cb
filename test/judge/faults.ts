import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT } from 'jose'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { oneRoute, startGateway, type Scope } from '../system.ts'
import { openCallers, type Ask } from './callers.ts'
import { Faults, type Load } from './load.ts'
import { type FaultsSize, type Row, suffer, summary, type Who, writeTable } from './met.ts'

export const faults: Load = {
  name: 'faults',
  claim: 'a fault fails no more than what needs the part that has it; writes docs/reliability.md',
  limitMs: 10 * 60_000,
  async judge(scope) {
    const { rows, told } = await judgeFaults(scope, { lastsMs: 5_000, everyMs: 5 })
    writeTable(rows, 'measured')
    return {
      counts: Object.fromEntries(rows.map((row) => [row.fault, summary(row)])),
      faults: told,
    }
  },
}

/** Something that goes wrong with a part, and how it is mended. */
interface Fault {
  readonly name: string
  /** Who must not notice: of `known` users the issued tokens are kept already. */
  readonly spares: readonly Who[]
  /** How the others may fail. */
  readonly failures: readonly string[]
  readonly begin: (world: World) => unknown
  readonly end: (world: World) => unknown
}

const UNAVAILABLE = '503 exchange_unavailable'

const FAULTS: readonly Fault[] = [
  {
    name: 'the issuer is killed',
    spares: ['known'],
    failures: [UNAVAILABLE],
    begin: (world) => world.issuer.kill(),
    end: (world) => world.reviveIssuer(),
  },
  {
    name: 'the issuer answers 503',
    spares: ['known'],
    failures: [UNAVAILABLE],
    begin: ({ issuer }) =>
      (issuer.answer = (_form, response) => void response.writeHead(503).end()),
    end: ({ issuer }) => (issuer.answer = issuer.issue),
  },
  {
    name: 'the issuer never answers',
    spares: ['known'],
    failures: [UNAVAILABLE],
    begin: ({ issuer }) => (issuer.answer = () => undefined),
    end: ({ issuer }) => (issuer.answer = issuer.issue),
  },
  {
    name: 'the issuer answers 429 with `Retry-After: 1`',
    spares: ['known'],
    failures: [UNAVAILABLE],
    begin: ({ issuer }) =>
      (issuer.answer = (_form, response) =>
        void response.writeHead(429, { 'retry-after': '1' }).end()),
    end: ({ issuer }) => (issuer.answer = issuer.issue),
  },
  {
    name: 'the issuer answers with something else',
    spares: ['known'],
    failures: [UNAVAILABLE, '502 exchange_misconfigured'],
    begin: ({ issuer }) =>
      (issuer.answer = (_form, response) => void response.end('<html>It works!</html>')),
    end: ({ issuer }) => (issuer.answer = issuer.issue),
  },
  {
    name: 'the upstream is killed',
    spares: [],
    failures: ['502 upstream_unavailable', '503 overloaded'],
    begin: ({ upstream }) => upstream.kill(),
    end: ({ upstream }) => upstream.start(),
  },
  {
    name: 'the upstream never answers',
    spares: [],
    failures: ['504 upstream_timeout', '502 upstream_unavailable', '503 overloaded'],
    begin: ({ upstream }) => (upstream.answer = () => undefined),
    end: ({ upstream }) => upstream.mend(),
  },
  {
    name: 'the upstream resets each connection',
    spares: [],
    failures: ['502 upstream_unavailable', '503 overloaded'],
    begin: ({ upstream }) => (upstream.answer = (_request, { socket }) => void socket?.destroy()),
    end: ({ upstream }) => upstream.mend(),
  },
  {
    name: 'the upstream breaks off within its answers',
    spares: [],
    // What has begun cannot be taken back: the caller's connection is cut.
    failures: ['0 cut', '502 upstream_unavailable', '503 overloaded'],
    begin: ({ upstream }) =>
      (upstream.answer = (_request, response) => {
        response.writeHead(200, { 'content-length': 100 })
        response.write('half', () => response.destroy())
      }),
    end: ({ upstream }) => upstream.mend(),
  },
]

/** The names of all faults, in order. */
export const FAULT_NAMES = FAULTS.map(({ name }) => name)

export const SECRET = 'a signing secret of the storefront, for nothing else'
const KNOWN = 50
const CALLERS = 400
const TIMEOUT = '1s'
/** After the end of a fault; the longest pause that anything here may ask for, and a slow machine. */
const RECOVERED_WITHIN_MS = 10_000

/** One after the other, under a load that comes whether or not it is answered. */
export async function judgeFaults(
  scope: Scope,
  size: FaultsSize,
): Promise<{ readonly rows: readonly Row[]; readonly told: readonly string[] }> {
  const world = await startWorld(scope)
  const found = new Faults()
  const rows: Row[] = []
  for (const fault of FAULTS) {
    const { ask, known, fresh } = world
    const [begin, end] = [() => fault.begin(world), () => fault.end(world)]
    const row = await suffer({ fault: fault.name, ask, known, fresh, begin, end }, size)
    rows.push(row)
    judgeRow(fault, row, found)
  }
  return { rows, told: found.told }
}

function judgeRow({ name, spares, failures }: Fault, { met }: Row, found: Faults): void {
  for (const who of ['known', 'new'] as const) {
    const { ok, requests, failed, recoveryMs } = met[who]
    const expected: readonly string[] = spares.includes(who) ? [] : failures
    for (const [how, count] of failed) {
      if (!expected.includes(how)) found.add(`${name}: ${count} ${who} users were answered ${how}`)
    }
    if (requests === 0) found.add(`${name}: no request of ${who} users`)
    if (!spares.includes(who) && ok === requests) found.add(`${name}: ${who} users noticed nothing`)
    if (recoveryMs > RECOVERED_WITHIN_MS)
      found.add(`${name}: ${who} failed for ${recoveryMs} ms more`)
  }
}

interface World {
  issuer: TestIssuer
  readonly upstream: Breakable
  readonly ask: Ask
  readonly reviveIssuer: () => Promise<void>
  /** A token that the gateway has an issued one for. */
  readonly known: () => string
  /** A token that nobody has seen. */
  readonly fresh: () => Promise<string>
}

async function startWorld(scope: Scope): Promise<World> {
  const issuer = await startIssuer(scope)
  const upstream = new Breakable()
  await upstream.start()
  scope.after(() => upstream.kill())
  const { url } = issuer
  const gateway = await startGateway(
    scope,
    oneRoute({
      issuer: url,
      upstream: upstream.origin,
      api: { algorithms: ['HS256'], signingSecret: SECRET },
      exchange: { timeout: TIMEOUT },
      proxy: { timeout: TIMEOUT },
    }),
  )
  const ask = await openCallers(scope, gateway.origin, CALLERS)
  let users = 0
  const fresh = (): Promise<string> => tokenOf(url, `user-${users++}`)
  const tokens = await Promise.all(Array.from({ length: KNOWN }, fresh))
  for (const token of tokens) {
    // However slow the machine is: who is known is known.
    while ((await ask('/orders', { token })).status !== 200);
  }
  let next = 0
  const world: World = {
    issuer,
    upstream,
    ask,
    reviveIssuer: async () => {
      world.issuer = await startIssuer(scope, Number(new URL(url).port))
    },
    known: () => tokens[next++ % KNOWN]!,
    fresh,
  }
  return world
}

export function tokenOf(issuer: string, sub: string): Promise<string> {
  return new SignJWT({ iss: issuer, sub, aud: 'https://storefront.example', scope: 'read:orders' })
    .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt' })
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(Buffer.from(SECRET))
}

type Respond = (request: http.IncomingMessage, response: http.ServerResponse) => void

/** An upstream that can be killed, and started again on its port. */
class Breakable {
  answer: Respond = whole
  #server: http.Server | undefined
  #port = 0

  get origin(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async start(): Promise<void> {
    const server = http.createServer((request, response) => this.answer(request, response))
    server.listen(this.#port, '127.0.0.1')
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  kill(): void {
    this.#server?.close()
    this.#server?.closeAllConnections()
  }

  mend(): void {
    this.answer = whole
  }
}

function whole(_request: http.IncomingMessage, response: http.ServerResponse): void {
  response.end('ok')
}

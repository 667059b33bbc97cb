import http from 'node:http'
import {
  compact,
  ecSigner,
  rsaSigner,
  secretSigner,
  type Members,
  type Signer,
} from '../attack/forge.ts'
import { forgeries, type Forgery } from '../attack/forgeries.ts'
import { respellings } from '../authenticate/spellings.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { listen, startGateway, startUpstream, type Scope } from '../system.ts'
import { openCallers, type Answered, type Ask } from './callers.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { random } from './random.ts'

export interface TokensSize {
  /** How many other spellings of one token are tried. */
  readonly spellings: number
  /** How many tokens with random changes are tried. */
  readonly mutations: number
}

export const tokens: Load = {
  name: 'tokens',
  claim: 'no forged or respelled token is accepted or exchanged, and each twin of one is accepted',
  limitMs: 10 * 60_000,
  judge: (scope, seed) => judgeTokens(scope, seed, { spellings: 10_000, mutations: 100_000 }),
}

const CALLERS = 20
/** How often a key set may be asked for, in milliseconds. */
const COOLDOWN_MS = 5_000
const SECRET = 'a signing secret of the back office, for nothing else'

interface Door {
  readonly path: string
  readonly signer: Signer
  readonly claims: () => Members
}

export async function judgeTokens(scope: Scope, seed: number, size: TokensSize): Promise<Finding> {
  const world = await startWorld(scope)
  const { ask, issuer, doors, faults } = world
  const startedAt = Date.now()
  const counts: Record<string, number> = {}

  const twins = new Map<string, string>()
  for (const { path, signer, claims } of doors) {
    const all = [...forgeries({ signer, claims, trap: `${world.keySets.origin}/trap` })]
    for (const { family, twin } of all) {
      counts[family] = (counts[family] ?? 0) + 1
      twins.set(twin, path)
    }
    await inParallel(all, (forgery) => assertRefused(ask, path, forgery, faults))
  }
  for (const { path, signer } of doors) {
    await crossed(doors, { path, signer }, world)
  }
  faults.unless(issuer.exchanges.length, 0, 'exchanges for forged tokens')

  counts['other spellings'] = await respelled(doors, size.spellings, world)
  counts['random changes'] = await mutated(doors, { seed, count: size.mutations }, world)
  faults.unless(issuer.exchanges.length, 1, 'exchanges after all spellings and random changes')

  await inParallel([...twins], async ([twin, path]) => {
    faults.unless((await ask(path, { token: twin })).status, 200, `a twin at ${path}`)
  })
  counts['twins'] = twins.size
  faults.unless(issuer.exchanges.length, 1 + twins.size, 'exchanges for the twins')

  const { asked, trapped } = world.keySets
  counts['requests for the key set'] = asked()
  const most = Math.ceil((Date.now() - startedAt) / COOLDOWN_MS) + 1
  if (asked() > most)
    faults.add(`the key set was asked for ${asked()} times, at most ${most} are expected`)
  faults.unless(trapped(), 0, 'requests to addresses that tokens brought along')
  return { counts, faults: faults.told }
}

interface World {
  readonly ask: Ask
  readonly issuer: TestIssuer
  readonly doors: readonly Door[]
  readonly keySets: KeySets
  readonly faults: Faults
}

async function startWorld(scope: Scope): Promise<World> {
  const issuer = await startIssuer(scope)
  const upstream = await startUpstream(scope, (_, response) => response.end('ok'))
  const signers = { rsa: rsaSigner('rsa'), ec: ecSigner('ec'), secret: secretSigner(SECRET) }
  const keySets = await startKeySets(scope, [signers.rsa, signers.ec])
  let made = 0
  const doors = Object.entries(signers).map(([name, signer]) => ({
    path: `/${name}`,
    signer,
    claims: (): Members => {
      const now = Math.floor(Date.now() / 1_000)
      const whose = { iss: issuer.url, aud: audienceOf(name), sub: 'user|alice' }
      return { ...whose, iat: now, exp: now + 3_600, jti: `${++made}`, scope: 'read:orders' }
    },
  }))
  const gateway = await startGateway(scope, {
    issuers: {
      tenant: { issuer: issuer.url, profile: 'rfc8693', jwksUri: `${keySets.origin}/jwks` },
    },
    apis: Object.fromEntries(
      Object.entries(signers).map(([name, { header }]) => [
        name,
        {
          issuer: 'tenant',
          audience: audienceOf(name),
          algorithms: [header.alg],
          ...(name === 'secret' && { signingSecret: SECRET }),
          client: { id: name, secret: 'a-secret-of-the-client' },
        },
      ]),
    ),
    routes: Object.keys(signers).map((name) => ({
      match: { path: `/${name}` },
      authenticate: { api: name },
      authorize: { scopes: ['read:orders'] },
      exchange: { audience: 'https://orders.internal' },
      proxy: { upstream: upstream.origin },
    })),
  })
  const ask = await openCallers(scope, gateway.origin, CALLERS)
  return { ask, issuer, doors, keySets, faults: new Faults() }
}

function audienceOf(name: string): string {
  return `https://${name}.example`
}

interface KeySets {
  readonly origin: string
  /** How often the key set was asked for. */
  readonly asked: () => number
  /** How often anything else was. */
  readonly trapped: () => number
}

async function startKeySets(scope: Scope, signers: readonly Signer[]): Promise<KeySets> {
  let [asked, trapped] = [0, 0]
  const server = http.createServer((request, response) => {
    if (request.url === '/jwks') asked++
    else trapped++
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: signers.map(({ jwk }) => jwk) }))
  })
  const origin = await listen(scope, server)
  return { origin, asked: () => asked, trapped: () => trapped }
}

async function assertRefused(
  ask: Ask,
  path: string,
  { family, what, token, code }: Forgery,
  faults: Faults,
): Promise<void> {
  faults.unless(codeOf(await ask(path, { token })), code, `${path}, ${family}: ${what}`)
}

function codeOf({ status, text }: Answered): string {
  return status === 200 ? 'accepted' : (/"code":"(\w+)"/.exec(text)?.[1] ?? `${status}`)
}

/** Each API's token at the others' doors, and signed by the others' keys. */
async function crossed(
  doors: readonly Door[],
  { path, signer }: Pick<Door, 'path' | 'signer'>,
  { ask, faults }: World,
): Promise<void> {
  for (const other of doors) {
    if (other.path === path) continue
    for (const [what, token] of Object.entries({
      'a token of another API': compact(other.signer.header, other.claims(), other.signer.sign),
      'a token by the key of another API': compact(
        signer.header,
        other.claims(),
        other.signer.sign,
      ),
      'a token with the header of another API': compact(
        other.signer.header,
        other.claims(),
        signer.sign,
      ),
    })) {
      faults.unless(codeOf(await ask(path, { token })), 'invalid_token', `${path}: ${what}`)
    }
  }
}

/** What a header can hold, so that the token arrives as it is. */
const ARRIVES = /^[\x21-\x7e]+$/

async function respelled(doors: readonly Door[], most: number, world: World): Promise<number> {
  const { path, signer, claims } = doors[0]!
  const { ask, faults } = world
  const note = '\u00ff\u00fe?>'.repeat(Math.ceil(most / 40))
  const token = compact(signer.header, { ...claims(), note }, signer.sign)
  const all = [...respellings(token)].filter((one) => ARRIVES.test(one))
  // Those that differ in idle bits alone come last, and are the most like the token.
  const spellings = all.reverse().slice(0, most)
  if (spellings.length < most) faults.add(`only ${spellings.length} spellings of one token`)
  const half = spellings.length >> 1
  const refuse = async (spelling: string): Promise<void> => {
    const code = codeOf(await ask(path, { token: spelling }))
    if (!REFUSALS.has(code)) faults.add(`a spelling of a token: ${code}: ${spelling}`)
  }
  await inParallel(spellings.slice(0, half), refuse)
  faults.unless((await ask(path, { token })).status, 200, 'the token as it is spelled')
  await inParallel(spellings.slice(half), refuse)
  faults.unless((await ask(path, { token })).status, 200, 'the token as it is spelled, again')
  return spellings.length
}

const REFUSALS: ReadonlySet<string> = new Set(['invalid_token', 'invalid_request'])

async function mutated(
  doors: readonly Door[],
  { seed, count }: { readonly seed: number; readonly count: number },
  { ask, faults }: World,
): Promise<number> {
  const good = doors.map(({ signer, claims }) => compact(signer.header, claims(), signer.sign))
  await inParallel(
    Array.from({ length: count }, (_, number) => number),
    async (number) => {
      const which = number % doors.length
      const token = mutate(good[which]!, seed, number)
      if (token === good[which]) return
      const code = codeOf(await ask(doors[which]!.path, { token }))
      if (!REFUSALS.has(code)) faults.add(`seed ${seed}, change ${number}: ${code}: ${token}`)
    },
  )
  return count
}

/** One to three characters replaced, inserted, taken out or exchanged. */
function mutate(token: string, seed: number, number: number): string {
  const { below } = random(seed, number)
  let changed = token
  for (let edits = below(3); edits >= 0; edits--) {
    const at = below(changed.length)
    const character = String.fromCharCode(0x21 + below(0x7e - 0x20))
    const [before, after] = [changed.slice(0, at), changed.slice(at)]
    changed = [
      () => before + character + after.slice(1),
      () => before + character + after,
      () => before + after.slice(1),
      () => before + after.slice(1, 2) + after.slice(0, 1) + after.slice(2),
    ][below(4)]!()
  }
  return changed
}

/** As many at once as there are connections. */
async function inParallel<Item>(
  items: readonly Item[],
  run: (item: Item) => Promise<void>,
): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length) await run(items[next++]!)
  }
  await Promise.all(Array.from({ length: CALLERS }, worker))
}

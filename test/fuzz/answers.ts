import http, { type IncomingMessage } from 'node:http'
import net, { type Socket } from 'node:net'
import { startIssuer } from '../issuer.ts'
import { Faults, within, type Finding } from '../judge/load.ts'
import { random, type Random } from '../judge/random.ts'
import { listen } from '../proxy/upstream.ts'
import { oneRoute, startGateway, type Scope } from '../system.ts'
import { pick } from './grammar.ts'
import type { FuzzOptions } from './run.ts'

/** An answer as bytes, and what is known of it. */
interface Answer {
  readonly bytes: string
  /** Undefined where servers do not agree about it. */
  readonly body: string | undefined
  readonly sum: string | undefined
  /** What was done to it, for the report. */
  readonly twist: string
  /** Whether its connection ends with it. */
  readonly last: boolean
}

const END = '\r\n\r\n'
/** What stands behind an answer is nobody's. */
const SMUGGLED = 'HTTP/1.1 200 OK\r\nX-Smuggled: yes\r\nContent-Length: 9\r\n\r\nnumber 0.'

const textOf = (number: number, pieces = 1): string => `number ${number}.`.repeat(pieces)
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`

function soundAnswer(chance: Random, number: number): Answer {
  const body = textOf(number, 1 + chance.below(40))
  const interim = chance.oneIn(10) ? 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n' : ''
  const head = `${interim}HTTP/1.1 200 OK\r\nX-Number: ${number}\r\n`
  const sound = { body, twist: 'none', last: false }
  if (chance.oneIn(3)) {
    return { ...sound, bytes: `${head}Content-Length: ${body.length}${END}${body}`, sum: undefined }
  }
  if (chance.oneIn(5)) {
    const bytes = `${head}Connection: close${END}${body}`
    return { ...sound, bytes, sum: undefined, last: true }
  }
  const sum = chance.oneIn(2) ? String(number) : undefined
  const trailers = sum === undefined ? '' : `X-Sum: ${sum}\r\nSet-Cookie: a=b\r\n`
  const at = chance.below(body.length - 1) + 1
  const chunks = chunk(body.slice(0, at)) + chunk(body.slice(at))
  const bytes = `${head}Transfer-Encoding: chunked${END}${chunks}0\r\n${trailers}\r\n`
  return { ...sound, bytes, sum }
}

type Twist = (chance: Random, body: string) => string

const OK = 'HTTP/1.1 200 OK\r\n'
const CHUNKED = `${OK}Transfer-Encoding: chunked`
const TWISTS: Readonly<Record<string, Twist>> = {
  'more than its length': (_chance, body) =>
    `${OK}Content-Length: ${body.length}${END}${body}${SMUGGLED}`,
  'less than its length': (_chance, body) =>
    `${OK}Content-Length: ${body.length + 60}${END}${body}`,
  'two lengths': (chance, body) =>
    `${OK}Content-Length: ${body.length}\r\nContent-Length: ${pick(chance, ['0', '3', '999'])}${END}${body}${SMUGGLED}`,
  'an odd length': (chance, body) =>
    `${OK}Content-Length: ${pick(chance, ['+3', '-1', '0x3', '3, 3', '', '9'.repeat(20), '1e1'])}${END}${body}${SMUGGLED}`,
  'a length and chunks': (chance, body) =>
    `${CHUNKED}\r\nContent-Length: ${pick(chance, ['0', '3', String(body.length)])}${END}${chunk(body)}0${END}${SMUGGLED}`,
  'an odd coding': (chance, body) =>
    `${OK}Transfer-Encoding: ${pick(chance, ['gzip, chunked', 'identity', 'chunked, chunked', 'xchunked', '\x0bchunked', 'chunked;q=1'])}${END}${chunk(body)}0${END}${SMUGGLED}`,
  'an odd chunk size': (chance, body) =>
    `${CHUNKED}${END}${pick(chance, ['0x5', '+5', '-5', ' 5', '5 ', '', 'g', '1'.repeat(17), '5\n'])}\r\n${body.slice(0, 5)}\r\n0${END}${SMUGGLED}`,
  'an odd end': (chance, body) =>
    `${CHUNKED}${END}${chunk(body)}${pick(chance, ['0\n\n', '0\r\n\n', '00', '0\r\r\n\r\n', '', '0\r\n'])}${SMUGGLED}`,
  'odd trailers': (chance, body) =>
    `${CHUNKED}\r\nTrailer: X-Sum, Content-Length${END}${chunk(body)}0\r\n${pick(chance, [
      ...['Content-Length: 3', 'Transfer-Encoding: chunked', ' folded: x', 'X : y', 'X', ': y'],
      ...['X: y\nX-Smuggled: yes', 'X: y\0', 'Connection: close', 'Host: x', 'X-Sum: 1\rX: y'],
      ...[`X: ${'y'.repeat(20_000)}`, 'HTTP/1.1 200 OK', 'Set-Cookie: X-Smuggled', 'Via: 1.1 x'],
    ])}${END}${SMUGGLED}`,
  'a status without a body': (chance, body) =>
    `HTTP/1.1 ${pick(chance, ['204 No Content', '304 Not Modified'])}\r\nContent-Length: ${body.length}${END}${body}${SMUGGLED}`,
  'an interim answer with a body': (_chance, body) =>
    `HTTP/1.1 103 Early Hints\r\nContent-Length: ${body.length}${END}${body}${OK}Content-Length: 0${END}`,
  'a switch': (chance) =>
    `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ${pick(chance, ['websocket', 'h2c', ''])}${END}${SMUGGLED}`,
  'an odd status line': (chance, body) =>
    `${pick(chance, ['HTTP/1.1 20', 'HTTP/1.1 2000 OK', 'HTTP/2.0 200 OK', 'HTTP/1.1  200 OK', 'ICY 200 OK', '200 OK', 'HTTP/1.1 200\0 OK'])}\r\nContent-Length: ${body.length}${END}${body}${SMUGGLED}`,
  'odd header lines': (chance, body) =>
    `${OK}${pick(chance, [' folded: x', 'X : y', 'X', 'X: y\nX-Smuggled: yes', 'X: y\0', 'X: y\r'])}\r\nContent-Length: ${body.length}${END}${body}${SMUGGLED}`,
  'two answers': (_chance, body) =>
    `${OK}Content-Length: ${body.length}${END}${body}${OK}Content-Length: ${body.length}${END}${SMUGGLED.slice(-9)}`,
  'an answer before it was asked': (_chance, body) =>
    `${OK}Content-Length: ${body.length}${END}${body}${SMUGGLED}${SMUGGLED}`,
}

/** What ends without the end of its connection, to all who read it: the next request may come on it. */
const ENDING: ReadonlySet<string> = new Set([
  ...['more than its length', 'two answers', 'an answer before it was asked', 'odd trailers'],
  'a status without a body',
])

/** The names of all twists. */
export const ANSWER_TWISTS = Object.keys(TWISTS)

function twistedAnswer(chance: Random, number: number): Answer {
  const twist = pick(chance, ANSWER_TWISTS)
  const bytes = TWISTS[twist]!(chance, textOf(number, 1 + chance.below(5)))
  return {
    bytes,
    body: undefined,
    sum: undefined,
    twist,
    last: !ENDING.has(twist) || chance.oneIn(2),
  }
}

const CALLERS = 16
const LONGEST_WAIT_MS = 90_000

/**
 * Answers by a grammar, in bytes, from an upstream that keeps its connections where it can, through the gateway to callers
 * that keep theirs. What a caller gets was meant for its request, and what is sound comes whole, with its trailers.
 */
export async function fuzzAnswers(scope: Scope, { seed, requests }: FuzzOptions): Promise<Finding> {
  const faults = new Faults()
  const twists = new Map<string, { sent: number; whole: number }>()
  const answers = new Map<string, Answer>()
  const issuer = await startIssuer(scope)
  const upstream = await startUpstream(scope, answers)
  const { origin } = await startGateway(
    scope,
    // However slow the machine is: what is late is not what is looked for.
    {
      ...oneRoute({ issuer: issuer.url, upstream, proxy: { timeout: '60s', retries: 0 } }),
      server: { listen: '127.0.0.1:0', limits: { loopDelay: '60s' } },
    },
  )
  const authorization = `Bearer ${await issuer.token()}`
  const agent = new http.Agent({ keepAlive: true, maxSockets: CALLERS })
  scope.after(() => agent.destroy())

  async function ask(number: number): Promise<void> {
    const chance = random(seed, number)
    const isSound = chance.oneIn(2)
    const answer = isSound ? soundAnswer(chance, number) : twistedAnswer(chance, number)
    const tally = twists.get(answer.twist) ?? { sent: 0, whole: 0 }
    twists.set(answer.twist, tally)
    tally.sent++
    answers.set(`/orders/${number}`, answer)
    const what = `number ${number} (${answer.twist}, seed ${seed})`
    try {
      const headers = { authorization, te: 'trailers', connection: 'te, keep-alive' }
      const asked = told(http.get(`${origin}/orders/${number}`, { agent, headers }))
      const { response, body } = await within(LONGEST_WAIT_MS, what, asked)
      if (response.statusCode === 200) tally.whole++
      judge(what, number, answer, response, body)
    } catch (error) {
      // An answer that breaks off is cut, and so is its caller's connection.
      if (answer.body !== undefined) faults.add(`${what}: ${(error as Error).message}`)
    }
  }

  function judge(
    what: string,
    number: number,
    { body: expected, sum }: Answer,
    response: IncomingMessage,
    body: string,
  ): void {
    const others = [...body.matchAll(/number (\d+)\./g)].filter(([, of]) => of !== `${number}`)
    if (others.length > 0) faults.add(`${what} got the answer of another`)
    const lines = [...response.rawHeaders, ...response.rawTrailers].join('\n').toLowerCase()
    if (lines.includes('x-smuggled')) faults.add(`${what} got what stood behind an answer`)
    if (/set-cookie/i.test(response.rawTrailers.join()))
      faults.add(`${what}: a cookie in a trailer`)
    if (expected === undefined) return
    if (response.statusCode !== 200 || body !== expected) faults.add(`${what} did not come whole`)
    if (response.trailers['x-sum'] !== sum) faults.add(`${what} came with other trailers`)
  }

  let next = 1
  const caller = async (): Promise<void> => {
    while (next <= requests) await ask(next++)
  }
  await Promise.all(Array.from({ length: CALLERS }, caller))
  const sorted = [...twists].sort(([one], [other]) => (one < other ? -1 : 1))
  const counts = sorted.map(([name, { sent, whole }]) => [name, `${sent} sent, ${whole} came`])
  return { counts: { seed, requests, ...Object.fromEntries(counts) }, faults: faults.told }
}

interface Told {
  readonly response: IncomingMessage
  readonly body: string
}

/** @throws {Error} it broke off */
function told(request: http.ClientRequest): Promise<Told> {
  return new Promise((resolve, reject) => {
    request.on('error', reject).on('response', (response) => {
      let body = ''
      response.setEncoding('latin1').on('data', (piece: string) => (body += piece))
      response.on('error', reject).on('end', () => resolve({ response, body }))
    })
  })
}

/** Answers each request by its path; what was twisted may be the end of its connection, or not. */
async function startUpstream(scope: Scope, answers: Map<string, Answer>): Promise<string> {
  const open = new Set<Socket>()
  const server = net.createServer((socket) => {
    open.add(socket)
    let pending = ''
    socket.on('close', () => open.delete(socket)).on('error', () => undefined)
    socket.on('data', (bytes: Buffer) => {
      pending += bytes.toString('latin1')
      for (let end = pending.indexOf(END); end >= 0; end = pending.indexOf(END)) {
        const path = pending.split(' ', 2)[1] ?? ''
        pending = pending.slice(end + END.length)
        const answer = answers.get(path)
        answers.delete(path)
        if (answer === undefined) return
        socket.write(answer.bytes, 'latin1')
        if (answer.last) socket.end()
      }
    })
  })
  scope.after(() => open.forEach((socket) => socket.destroy()))
  return `http://127.0.0.1:${await listen(scope, server)}`
}

/** Request targets that somebody reads differently, made by a grammar, and the servers that would read them. */

/** Where requests may go: what guards a path need not guard the one below it. */
export const PATHS = [
  '/orders',
  '/orders/admin',
  '/orders/{id}/items',
  '/public',
  '/public/files',
  '/admin',
] as const

const NAMES = ['orders', 'admin', 'public', 'files', 'items', '1', 'a-b', 'x%20y', 'ADMIN', 'Items']
const ROOTS = ['orders', 'orders', 'public', 'admin', 'ORDERS']
const ODD = [
  ...['.', '..', '...', '%2e', '%2E%2e', '.%2e', '%252e%252e', '..;', '..;x=1', '..%3b', '.%3Bx'],
  ...['%c0%ae%c0%ae', '..%20', '..%2520', '..%00', '..%3f', '..%2523', '%20', '.%20', '', ';x'],
  ...[
    '%61dmin',
    '%2561dmin',
    'ad%6din',
    'admin%3b',
    'admin%3Bx',
    'admin%253b',
    'admin;x',
    'admin;',
  ],
  ...[
    'admin%3f',
    'admin%3Fx',
    'admin%23',
    'admin%2523',
    'admin%20',
    'admin%2520',
    'admin.',
    'admin..',
  ],
  ...[
    'aDmIn',
    'ADMIN%20',
    'ADMIN%3b',
    'admin%00',
    'admin%0a',
    'admin%09',
    'admin%',
    'admin%zz',
    'admin%2',
  ],
  ...[
    'admin\\..',
    'admin%5c..',
    'ad\u00e9',
    'ad min',
    'admin%c0%af..',
    'x%2f..%2fadmin',
    'x%252f..',
  ],
  ...[
    'items%3b',
    'ITEMS',
    'items.',
    'fi%6Ces',
    'FILES%3f',
    '%e0%80%af',
    '%25',
    '%25%32%65',
    'a+b',
    'a:b',
  ],
]
const SEPARATORS = [
  '//',
  '\\',
  '%2f',
  '%2F',
  '%5c',
  '%252f',
  '/./',
  '/../',
  ';/',
  '%c0%af',
  '/%2e/',
  '/;/',
]
const TAILS = [
  '',
  '',
  '',
  '/',
  '?x=1',
  '?/../orders/admin',
  '?a;b',
  '#',
  '#/admin',
  '/.',
  '/..',
  '%00',
  '?%zz',
]
const STARTS = [
  '/',
  '/',
  '/',
  '/',
  '/',
  '/',
  '//',
  '/.//',
  '/\\',
  'http://gateway.example/',
  'HTTP://gateway.example/',
  'http://gateway.example//',
  '*',
  '',
]

/** The same for each run: a failure can be looked at again. */
export function hostileTargets(count: number, seed = 20): readonly string[] {
  const random = generator(seed)
  const one = (list: readonly string[]): string => list[Math.floor(random() * list.length)]!
  const targets = new Set<string>()
  while (targets.size < count) {
    const oddity = random()
    let text = oddity > 0.7 ? one(STARTS) : '/'
    const length = 1 + Math.floor(random() * 4)
    for (let index = 0; index < length; index++) {
      if (index > 0) text += random() < 0.15 * oddity ? one(SEPARATORS) : '/'
      text += random() < 0.3 * oddity ? one(ODD) : one(index === 0 ? ROOTS : NAMES)
    }
    targets.add(text + (random() < oddity ? one(TAILS) : ''))
  }
  return [...targets]
}

/** mulberry32. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Which of `PATHS` a server serves for the path that it sees: the most specific one; undefined for none. */
export function served(path: string): string | undefined {
  const segments = path.split('/').filter((segment) => segment !== '')
  const [first, second, third] = segments
  if (first === 'admin') return '/admin'
  if (first === 'public') return second === 'files' ? '/public/files' : '/public'
  if (first !== 'orders') return undefined
  if (second === 'admin') return '/orders/admin'
  return second !== undefined && third === 'items' ? '/orders/{id}/items' : '/orders'
}

export const READERS: Readonly<Record<string, (target: string) => string>> = {
  'a URL parser': (target) => decoded(new URL(target, 'http://upstream.example').pathname),
  'a server that knows path parameters': (target) =>
    resolved(decoded(pathOf(target).replace(/;[^/]*/g, ''))),
  'a server that decodes twice': (target) =>
    resolved(decoded(pathOf(decoded(pathOf(target)))).replaceAll('\\', '/')),
  'a server that decodes twice and knows path parameters': (target) =>
    resolved(decoded(decoded(pathOf(target))).replace(/;[^/]*/g, '')),
  'a server of a file system without case': (target) =>
    resolved(
      decoded(pathOf(target))
        .toLowerCase()
        .split(/[/\\]/)
        .map((segment) => (/^\.{1,2}$/.test(segment) ? segment : segment.replace(/[. ]+$/, '')))
        .join('/'),
    ),
}

function pathOf(target: string): string {
  return target.replace(/^https?:\/\/[^/]*/i, '').replace(/[?#][^]*$/, '')
}

/** Leniently, with overlong sequences as what they stand for. */
function decoded(path: string): string {
  return path
    .replace(/%c0%(af|ae)/gi, (_, code: string) => (code.toLowerCase() === 'af' ? '/' : '.'))
    .replace(/%([0-9a-f]{2})/gi, (_, code: string) =>
      String.fromCharCode(Number.parseInt(code, 16)),
    )
    .replace(/\0[^]*$/, '')
}

function resolved(path: string): string {
  const kept: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment)
  }
  return `/${kept.join('/')}`
}

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { createMetrics, type Metrics } from '../src/metrics.ts'

interface Family {
  type: string
  help: string
  samples: Map<string, number>
}

const VALUE = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]Inf|NaN)$/i

/** Prometheus text format 0.0.4, and nothing more lenient: each family whole, each series once. */
function parse(text: string): Map<string, Family> {
  assert.ok(text === '' || text.endsWith('\n'))
  const families = new Map<string, Family>()
  let current: [string, Family] | undefined
  for (const line of text.split('\n').slice(0, -1)) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line)
    if (comment !== null) {
      const [, kind, name, rest] = comment as unknown as [string, string, string, string]
      if (kind === 'HELP') {
        assert.ok(!families.has(name), `${name} twice`)
        assert.match(rest, /^(?:[^\\]|\\[\\n])*$/)
        current = [name, { type: '', help: rest, samples: new Map() }]
        families.set(...current)
      } else {
        assert.equal(current?.[0], name)
        assert.match(rest, /^(?:counter|gauge|histogram)$/)
        current![1].type = rest
      }
      continue
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$/.exec(
        line,
      )
    assert.ok(sample, `not a sample: ${line}`)
    const [, name, labels = '', value] = sample as unknown as [string, string, string?, string?]
    const [family, { type, samples }] = current!
    const suffix = type === 'histogram' ? '(?:_bucket|_sum|_count)' : ''
    assert.match(name, new RegExp(`^${family}${suffix}$`))
    assert.match(value!, VALUE)
    const series = `${name}{${labels
      .split(/,(?=[a-zA-Z_]\w*=")/)
      .sort()
      .join(',')}}`
    assert.ok(!samples.has(series), `${series} twice`)
    samples.set(series, value === '+Inf' ? Infinity : value === '-Inf' ? -Infinity : Number(value))
  }
  return families
}

function everyKind(): Metrics {
  const metrics = createMetrics()
  metrics.counter('a_total', 'A count.').value = 3
  metrics.counter('b_total', 'A count with labels.', { route: 'orders', status: '200' }).value = 1.5
  metrics.counter('b_total', 'A count with labels.', { route: 'orders', status: '401' }).value++
  metrics.gauge('c', 'A state.').value = -1e21
  metrics.sampled('d', 'Asked.', () => 7, { issuer: 'tenant' })
  metrics.histogram('e_seconds', 'A time.', { route: 'orders' }).observe(0.003)
  metrics.histogram('f_seconds', 'A time without labels.')
  return metrics
}

test('every kind of metric is written in the text format', () => {
  const families = parse(everyKind().render())
  assert.deepEqual(
    [...families].map(([name, { type }]) => [name, type]),
    [
      ['a_total', 'counter'],
      ['b_total', 'counter'],
      ['c', 'gauge'],
      ['d', 'gauge'],
      ['e_seconds', 'histogram'],
      ['f_seconds', 'histogram'],
    ],
  )
  assert.equal(families.get('a_total')!.samples.get('a_total{}'), 3)
  assert.equal(families.get('b_total')!.samples.get('b_total{route="orders",status="200"}'), 1.5)
  assert.equal(families.get('c')!.samples.get('c{}'), -1e21)
  assert.equal(families.get('d')!.samples.get('d{issuer="tenant"}'), 7)
})

const promtool = spawnSync('promtool', ['--version']).status === 0
test('promtool finds nothing to complain of', { skip: !promtool && 'no promtool here' }, () => {
  const { status, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: everyKind().render(),
    encoding: 'utf8',
  })
  // Its lint wants base units and names; 3 is lint alone.
  assert.ok(status === 0 || status === 3, stderr)
})

test('whatever a label holds, it is one label of one line', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (value) => {
      const metrics = createMetrics()
      metrics.counter('a_total', 'A count.', { route: value }).value = 2
      metrics.histogram('b_seconds', 'A time.', { route: value }).observe(1)
      const families = parse(metrics.render())
      assert.deepEqual([...families.get('a_total')!.samples.values()], [2])
      assert.equal(families.get('b_seconds')!.samples.size, 17)
    }),
  )
  const metrics = createMetrics()
  metrics.counter('a_total', 'A count.', { route: 'a\\b"c\nd' })
  assert.ok(metrics.render().includes('a_total{route="a\\\\b\\"c\\nd"} 0\n'))
})

test('help is one line', () => {
  const metrics = createMetrics()
  metrics.counter('a_total', 'first\nsecond \\ third')
  assert.equal(parse(metrics.render()).get('a_total')!.help, 'first\\nsecond \\\\ third')
})

test('the same labels are the same cell, in whatever order they are named', () => {
  const metrics = createMetrics()
  metrics.counter('a_total', 'A count.', { x: '1', y: '2' }).value++
  metrics.counter('a_total', 'A count.', { y: '2', x: '1' }).value++
  assert.deepEqual([...parse(metrics.render()).get('a_total')!.samples.values()], [2])
})

test('what is sampled anew takes the place of what was sampled', () => {
  const metrics = createMetrics()
  metrics.sampled('a', 'A state.', () => 1)
  metrics.sampled('a', 'A state.', () => 2)
  assert.deepEqual([...parse(metrics.render()).get('a')!.samples.values()], [2])
})

test('values that are not finite are spelled as the format has them', () => {
  const metrics = createMetrics()
  for (const value of [Infinity, -Infinity, Number.NaN]) {
    metrics.gauge('a', 'A state.', { of: String(value) }).value = value
  }
  assert.deepEqual(
    [...parse(metrics.render()).get('a')!.samples.values()],
    [Infinity, -Infinity, NaN],
  )
})

test('a name is of one kind', () => {
  const metrics = createMetrics()
  metrics.counter('a_total', 'A count.')
  assert.throws(() => metrics.gauge('a_total', 'A count.'), TypeError)
})

test('buckets are cumulative, hold their bound, and end with everything', () => {
  const metrics = createMetrics()
  const seconds = metrics.histogram('a_seconds', 'A time.')
  const observed = [0, 0.0005, 0.00051, 0.1, 10, 10.1, 3_600]
  for (const value of observed) seconds.observe(value)
  const { samples } = parse(metrics.render()).get('a_seconds')!
  assert.equal(samples.get('a_seconds_bucket{le="0.0005"}'), 2)
  assert.equal(samples.get('a_seconds_bucket{le="0.001"}'), 3)
  assert.equal(samples.get('a_seconds_bucket{le="10"}'), 5)
  assert.equal(samples.get('a_seconds_bucket{le="+Inf"}'), observed.length)
  assert.equal(samples.get('a_seconds_count{}'), observed.length)
  assert.ok(Math.abs(samples.get('a_seconds_sum{}')! - 3_620.20101) < 1e-9)
  const counts = [...samples].filter(([name]) => name.includes('_bucket')).map(([, count]) => count)
  assert.deepEqual(
    counts,
    counts.toSorted((a, b) => a - b),
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createMetrics, type Metrics, render } from '../../src/metrics.ts'
import { countsOf, joinSnapshots } from '../../src/server/joined.ts'

function linesOf(...processes: readonly Metrics[]): readonly string[] {
  return render(joinSnapshots(processes.map((one) => one.snapshot()))).split('\n')
}

function process(fill: (metrics: Metrics) => void): Metrics {
  const metrics = createMetrics()
  fill(metrics)
  return metrics
}

test('the metrics of one process are, joined, what they were', () => {
  const one = process((metrics) => {
    metrics.counter('a_total', 'A count.', { route: 'orders' }).value = 3
    metrics.histogram('b_seconds', 'A time.').observe(0.003)
    metrics.sampled('c', 'A state.', () => 0.5, {}, 'max')
  })
  assert.equal(render(joinSnapshots([one.snapshot()])), one.render())
})

test('counters of the same labels are added up, in whatever order the labels are named', () => {
  const lines = linesOf(
    process((metrics) => (metrics.counter('a_total', 'A.', { x: '1', y: '2' }).value = 3)),
    process((metrics) => {
      metrics.counter('a_total', 'A.', { y: '2', x: '1' }).value = 4
      metrics.counter('a_total', 'A.', { x: '1', y: '3' }).value = 5
    }),
  )
  assert.deepEqual(lines, [
    '# HELP a_total A.',
    '# TYPE a_total counter',
    'a_total{x="1",y="2"} 7',
    'a_total{x="1",y="3"} 5',
    '',
  ])
})

test('histograms that are joined are the histogram of all that was observed', () => {
  const time = fc.double({ min: 0, max: 20, noNaN: true })
  fc.assert(
    fc.property(fc.array(fc.array(time), { minLength: 1, maxLength: 5 }), (observed) => {
      const histogramOf = (times: readonly number[]): Metrics =>
        process((metrics) => {
          const histogram = metrics.histogram('a_seconds', 'A time.')
          for (const one of times) histogram.observe(one)
        })
      const isCount = (line: string): boolean => !line.startsWith('a_seconds_sum')
      const together = linesOf(...observed.map(histogramOf))
      const whole = histogramOf(observed.flat()).render().split('\n')
      assert.deepEqual(together.filter(isCount), whole.filter(isCount))
    }),
  )
})

for (const [together, expected] of [
  ['sum', 9],
  ['max', 6],
  ['min', 1],
] as const) {
  test(`a gauge of 2, 6 and 1 is ${expected} where it says ${together}`, () => {
    const gaugeOf = (value: number): Metrics =>
      process((metrics) => metrics.sampled('a', 'A.', () => value, {}, together))
    assert.equal(linesOf(gaugeOf(2), gaugeOf(6), gaugeOf(1)).at(-2), `a ${expected}`)
  })
}

test('a gauge that says nothing is the sum, and no process becomes a label', () => {
  const gaugeOf = (value: number): Metrics =>
    process((metrics) => (metrics.gauge('a', 'A.', { issuer: 'tenant' }).value = value))
  assert.equal(linesOf(gaugeOf(2), gaugeOf(6)).at(-2), 'a{issuer="tenant"} 8')
})

test('of a process that has ended the counts stay, and its states do not', () => {
  const ended = process((metrics) => {
    metrics.counter('a_total', 'A.').value = 3
    metrics.histogram('b_seconds', 'A time.').observe(1)
    metrics.sampled('c', 'A state.', () => 7)
  })
  const names = countsOf(ended.snapshot()).map(({ name }) => name)
  assert.deepEqual(names, ['a_total', 'b_seconds'])
})

test('a family of another kind is left out, and takes no other with it', () => {
  const lines = linesOf(
    process((metrics) => (metrics.counter('a', 'A.').value = 1)),
    process((metrics) => {
      metrics.gauge('a', 'A.').value = 5
      metrics.counter('b_total', 'B.').value = 2
    }),
  )
  assert.ok(lines.includes('a 1'))
  assert.ok(lines.includes('b_total 2'))
})

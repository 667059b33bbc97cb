/**
 * What of `deploy/monitoring` can be tried without Grafana and Kubernetes: alerts fire when they should, and nothing is asked
 * for that no gateway tells.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { parse } from 'yaml'
import { createAuthority, NO_OPENSSL } from './certificates.ts'
import { startIssuer } from './issuer.ts'
import { missing } from './programs.ts'
import { bearer, oneRoute, startGateway, startUpstream } from './system.ts'

const FOLDER = join('deploy', 'monitoring')
const PAGE = join('docs', 'monitoring.md')
const bounded = { timeout: 240_000 }

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
  readonly targets?: readonly { refId: string; expr: string; legendFormat: string }[]
}

interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { name: string; definition?: string }[] }
}

function yaml<Value>(name: string): Value {
  return parse(readFileSync(join(FOLDER, name), 'utf8')) as Value
}

const alerts = yaml<{ groups: { rules: Alert[] }[] }>('alerts.yaml').groups.flatMap(
  ({ rules }) => rules,
)
const dashboard = JSON.parse(readFileSync(join(FOLDER, 'dashboard.json'), 'utf8')) as Dashboard
const targets = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map((target) => ({ title, ...target })),
)

/** What Grafana puts in the place of its variables. */
function filledIn(expr: string): string {
  return expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*')
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'behalf-monitoring-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

function promtool(...words: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync('promtool', words, {
    encoding: 'utf8',
    timeout: bounded.timeout,
    // It writes what series it is given to a disk, and waits for that.
    env: { ...process.env, ...(existsSync('/dev/shm') && { TMPDIR: '/dev/shm' }) },
  })
  assert.equal(status, 0, `${stdout}${stderr}`)
}

const withPromtool = { ...bounded, skip: missing('promtool') }

test('Prometheus takes the configuration, and the alerts that it names', withPromtool, () => {
  promtool('check', 'config', join(FOLDER, 'prometheus.yaml'))
})

const TRIALS = ['alerts.test.yaml', 'alerts-daily.test.yaml'].map((name) => join(FOLDER, name))

test('each alert fires on its trouble, and on nothing else', withPromtool, () => {
  promtool('test', 'rules', ...TRIALS)
})

test('there is a trouble for each alert', () => {
  const tried = TRIALS.map((file) => readFileSync(file, 'utf8')).join('\n')
  const names = Array.from(tried.matchAll(/ALERTS\{alertname="(\w+)"/g), ([, name]) => name)
  assert.deepEqual(names.toSorted(), alerts.map(({ alert }) => alert).toSorted())
})

test('each alert says what it is, what users notice, and where it is said what to do', () => {
  const headings = readFileSync(PAGE, 'utf8').matchAll(/^## (.+)$/gm)
  const sections = Array.from(headings, ([, heading]) => heading!)
  assert.deepEqual(sections.toSorted(), alerts.map(({ alert }) => alert).toSorted())
  for (const { alert, labels, annotations } of alerts) {
    assert.match(labels['severity']!, /^(?:warning|critical)$/, alert)
    const { summary, description, runbook, ...others } = annotations
    assert.deepEqual(others, {}, alert)
    assert.match(summary!, /^.{20,100}\.$/, alert)
    assert.match(description!, /^.{40,}\.$/, alert)
    assert.equal(runbook, `docs/monitoring.md#${alert.toLowerCase()}`)
  }
})

test('every expression of the dashboard is PromQL', withPromtool, (t) => {
  const rules = targets.map(({ expr }, index) => ({
    record: `dashboard:${index}`,
    expr: filledIn(expr),
  }))
  const file = join(folder(t), 'dashboard.json')
  // JSON is YAML.
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }))
  promtool('check', 'rules', file)
})

test('panels of the dashboard have a number, a title and a place of their own', () => {
  const { panels } = dashboard
  assert.ok(targets.length > 30)
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  const titles = panels.map(({ title }) => title)
  assert.equal(new Set(titles).size, titles.length)
  const taken = new Set<string>()
  for (const { title, gridPos } of panels) {
    const { x, y, w, h } = gridPos
    assert.ok(x >= 0 && w > 0 && x + w <= 24, title)
    for (let column = x; column < x + w; column++) {
      for (let line = y; line < y + h; line++) {
        assert.ok(!taken.has(`${column} ${line}`), title)
        taken.add(`${column} ${line}`)
      }
    }
  }
  for (const { type, title, targets = [] } of panels) {
    assert.equal(targets.length === 0, type === 'row', title)
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title)
  }
})

test('the dashboard uses each of its variables, and no other', () => {
  const used = JSON.stringify(dashboard).matchAll(/\$\{?(\w+)/g)
  const own = Array.from(used, ([, name]) => name!).filter((name) => !name.startsWith('__'))
  const { list } = dashboard.templating
  assert.deepEqual(new Set(own), new Set(list.map(({ name }) => name)))
})

test('a legend of the dashboard names labels that its expression keeps', () => {
  for (const { title, expr, legendFormat } of targets) {
    const kept = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names]) => names!.split(', '))
    for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
      assert.ok(kept.includes(label!), `${title}: ${legendFormat}`)
    }
  }
})

interface Selector {
  readonly metric: string
  readonly matchers: readonly { readonly label: string; readonly value: string }[]
}

/** The metrics that an expression asks for. */
function selectorsIn(expr: string): readonly Selector[] {
  const found = expr.matchAll(/\b((?:behalf|process)_\w+|up)\b(?:\{([^}]*)\})?/g)
  return Array.from(found, ([, metric, text = '']) => ({
    metric: metric!,
    matchers: Array.from(text.matchAll(/(\w+)\s*[=!]~?\s*"([^"]*)"/g), ([, label, value]) => ({
      label: label!,
      value: value!,
    })),
  }))
}

/** The labels of each sample's name. */
function samplesOf(metrics: string): ReadonlyMap<string, ReadonlySet<string>> {
  const samples = new Map<string, Set<string>>()
  for (const [, name, labels = ''] of metrics.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const known = samples.get(name!) ?? new Set(SCRAPED)
    samples.set(name!, known)
    for (const [, label] of labels.matchAll(/(\w+)="/g)) known.add(label!)
  }
  return samples
}

/** What Prometheus adds to each sample. */
const SCRAPED = ['job', 'instance']

/** What a gateway tells that has TLS, a budget and several upstreams. */
async function metricsOfGateway(t: TestContext): Promise<string> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const upstreams = [upstream, await startUpstream(t)].map(({ origin }) => ({ url: origin }))
  const { certificate, key } = createAuthority().issue('gateway')
  const setting = { issuer: issuer.url, upstream: upstream.origin }
  const gateway = await startGateway(t, {
    ...oneRoute({ ...setting, proxy: { upstream: undefined, upstreams } }),
    issuers: { tenant: { issuer: issuer.url, profile: 'rfc8693', budget: { rate: 100 } } },
    server: { listen: '127.0.0.1:0', tls: { certificate, key } },
  })
  const request = https.get(`${gateway.origin}/orders`, {
    ...{ ...bearer(await issuer.token()), rejectUnauthorized: false, agent: false },
  })
  const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream]
  for await (const _ of response);
  // A request is counted when it has ended, which may be after its caller knows.
  while (!gateway.logged().includes('"msg":"request"')) await new Promise(setImmediate)
  return (await fetch(`${gateway.adminOrigin}/metrics`)).text()
}

/** What is told of workers and Redis, which start slowly, by the names that it has where it is counted. It has no labels. */
function metricsOfOthers(): string {
  const sources = ['crew.ts', 'redis.ts'].map((name) =>
    readFileSync(join('src', 'server', name), 'utf8'),
  )
  const names = Array.from(sources.join('').matchAll(/'(behalf_\w+)'/g), ([, name]) => name!)
  assert.equal(names.length, 3)
  return names.map((name) => `${name} 0\n`).join('')
}

test(
  'alerts and dashboard ask for metrics and labels that a gateway has',
  { ...bounded, skip: NO_OPENSSL },
  async (t) => {
    const samples = samplesOf((await metricsOfGateway(t)) + metricsOfOthers())
    const definitions = dashboard.templating.list.map(({ definition = '' }) => definition)
    const expressions = [...alerts, ...targets].map(({ expr }) => expr)
    for (const expr of [...expressions, ...definitions]) {
      const selectors = selectorsIn(expr)
      if (expr !== '') assert.notEqual(selectors.length, 0, expr)
      const labels = new Set(SCRAPED)
      for (const { metric, matchers } of selectors) {
        if (metric === 'up') continue
        const known = samples.get(metric)
        assert.ok(known, `${metric} in ${expr}`)
        for (const label of known) labels.add(label)
        for (const { label } of matchers) assert.ok(known.has(label), `${label} in ${expr}`)
      }
      for (const [, names] of expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)) {
        for (const name of names!.split(', ')) assert.ok(labels.has(name), `${name} in ${expr}`)
      }
    }
  },
)

test('alerts and dashboard ask for values of labels that the code writes', () => {
  const source = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join('src', name), 'utf8'))
    .join('\n')
  // A code of errors.ts is a name there.
  const isWritten = (value: string): boolean =>
    source.includes(`'${value}'`) || new RegExp(`^ {2}${value}: \\[\\d`, 'm').test(source)
  for (const { expr } of [...alerts, ...targets]) {
    for (const { label, value } of selectorsIn(expr).flatMap(({ matchers }) => matchers)) {
      if (!['outcome', 'level', 'reason', 'listener', 'grant'].includes(label)) continue
      for (const one of value.split('|')) {
        const begins = one.endsWith('.*') && source.includes(`'${one.slice(0, -2)}`)
        assert.ok(begins || isWritten(one), `${label}="${one}" in ${expr}`)
      }
    }
  }
})

test('Prometheus finds the pods of the manifests by their label and the name of their port', () => {
  interface Relabel {
    readonly source_labels?: readonly string[]
    readonly regex?: string
    readonly action?: string
  }
  interface Scrape {
    readonly job_name: string
    readonly kubernetes_sd_configs: readonly { namespaces: { names: string[] } }[]
    readonly relabel_configs: readonly Relabel[]
  }
  const [scrape] = yaml<{ scrape_configs: Scrape[] }>('prometheus-kubernetes.yaml').scrape_configs
  const text = (name: string): string => readFileSync(join('deploy', 'kubernetes', name), 'utf8')
  const kept = scrape!.relabel_configs.filter(({ action }) => action === 'keep')
  assert.deepEqual(
    kept.map(({ source_labels: [label = ''] = [], regex }) => [label, regex]),
    [
      ['__meta_kubernetes_pod_label_app_kubernetes_io_name', 'behalf'],
      ['__meta_kubernetes_pod_container_port_name', 'admin'],
    ],
  )
  assert.match(text('deployment.yaml'), /labels: \{ app\.kubernetes\.io\/name: behalf \}/)
  assert.match(text('deployment.yaml'), /\{ name: admin, containerPort: 8081 \}/)
  const { namespace } = parse(text('kustomization.yaml')) as { namespace: string }
  assert.deepEqual(scrape!.kubernetes_sd_configs[0]!.namespaces.names, [namespace])
  for (const name of ['prometheus.yaml', 'prometheus-kubernetes.yaml']) {
    const { scrape_configs: scrapes } = yaml<{ scrape_configs: Scrape[] }>(name)
    assert.deepEqual(
      scrapes.map(({ job_name: job }) => job),
      ['behalf'],
    )
  }
})

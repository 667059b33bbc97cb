/**
 * What of `deploy/` can be tried without Docker and Kubernetes: its configurations are loaded, its parts agree with each other,
 * systemd and nginx read what is theirs. Nobody here builds the image, or applies the manifests.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { parse, parseAllDocuments } from 'yaml'
import type { Config } from '../src/config/config.ts'
import { loadConfig } from '../src/config/load.ts'
import { missing } from './programs.ts'

interface Container {
  readonly image: string
  readonly args: readonly string[]
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
  readonly [probe: `${string}Probe`]: { readonly httpGet: { path: string; port: string } }
}

interface PodSpec {
  readonly terminationGracePeriodSeconds: number
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly containers: readonly Container[]
  readonly volumes: readonly { readonly name: string }[]
}

interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  // Each kind has its own; what is read here is asserted.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly spec: any
  readonly data: Readonly<Record<string, string>>
}

const KUBERNETES = 'deploy/kubernetes'
const manifests = readdirSync(KUBERNETES)
  .filter((file) => file !== 'kustomization.yaml')
  .flatMap((file) =>
    parseAllDocuments(readFileSync(join(KUBERNETES, file), 'utf8')).map((document) => {
      assert.deepEqual(document.errors, [], file)
      return document.toJS() as Manifest
    }),
  )

function manifest(kind: string, name = 'behalf'): Manifest {
  const found = manifests.find((one) => one.kind === kind && one.metadata.name === name)
  assert.ok(found, `there is no ${kind} ${name}`)
  return found
}

const podOf = ({ spec }: Manifest): PodSpec => spec.template.spec as PodSpec

/** The secrets that a configuration names, by the last part of their path. */
function secretsIn(text: string): readonly string[] {
  return [...text.matchAll(/\$\{file:\/run\/secrets\/(?:behalf\/)?([\w-]+)\}/g)].map(
    ([, name]) => name!,
  )
}

/** With something in each secret's place that will do. */
async function loaded(t: TestContext, text: string): Promise<Config> {
  const folder = mkdtempSync(join(tmpdir(), 'behalf-deploy-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const name of secretsIn(text)) {
    writeFileSync(join(folder, name), createHash('sha256').update(name).digest('base64'))
  }
  const file = join(folder, 'behalf.yaml')
  writeFileSync(file, text.replaceAll(/\/run\/secrets\/(?:behalf\/)?/g, `${folder}/`))
  return loadConfig(file, { environment: {} })
}

const composed = parse(readFileSync('deploy/compose.yaml', 'utf8')) as {
  readonly services: Readonly<Record<string, Record<string, unknown>>>
  readonly networks: Readonly<Record<string, { ipam?: { config: { subnet: string }[] } } | null>>
  readonly secrets: Readonly<Record<string, unknown>>
}
const behalf = composed.services['behalf']!

test('the manifests are of these kinds, in these versions', () => {
  assert.deepEqual(manifests.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`).sort(), [
    'apps/v1 Deployment',
    'apps/v1 Deployment',
    'autoscaling/v2 HorizontalPodAutoscaler',
    'networking.k8s.io/v1 NetworkPolicy',
    'networking.k8s.io/v1 NetworkPolicy',
    'policy/v1 PodDisruptionBudget',
    'v1 ConfigMap',
    'v1 Namespace',
    'v1 Service',
    'v1 Service',
    'v1 ServiceAccount',
  ])
})

test('the kustomization names every file beside it', () => {
  const { resources } = parse(readFileSync(join(KUBERNETES, 'kustomization.yaml'), 'utf8')) as {
    resources: string[]
  }
  const files = readdirSync(KUBERNETES).filter((file) => file !== 'kustomization.yaml')
  assert.deepEqual([...resources].sort(), files.sort())
})

test('the configuration of the Kubernetes manifests loads, and agrees with them', async (t) => {
  const text = manifest('ConfigMap').data['behalf.yaml']!
  const config = await loaded(t, text)
  const pod = podOf(manifest('Deployment'))
  const [container] = pod.containers
  const port = (name: string): number | undefined =>
    container!.ports.find((one) => one.name === name)?.containerPort
  assert.equal(config.server.listen.port, port('http'))
  assert.equal(config.admin.listen.port, port('admin'))
  assert.equal(config.server.replicas, manifest('HorizontalPodAutoscaler').spec.maxReplicas)
  const { delayMs, timeoutMs } = config.server.drain
  assert.ok(pod.terminationGracePeriodSeconds * 1_000 >= delayMs + timeoutMs + 5_000)
  // Two probes that fail, and what it takes until everybody has heard of it.
  assert.ok(delayMs >= 2 * 2_000 + 5_000)
  const { upstreams } = config.routes[0]!.proxy
  assert.equal(new URL(upstreams[0]!.url).hostname, 'orders.default.svc')
})

test('every secret that a configuration names is one that its deployment says how to make', () => {
  const kubernetes = readFileSync(join(KUBERNETES, 'kustomization.yaml'), 'utf8')
  for (const name of secretsIn(manifest('ConfigMap').data['behalf.yaml']!)) {
    assert.ok(kubernetes.includes(`--from-literal=${name}=`), name)
  }
  const names = secretsIn(readFileSync('deploy/behalf.yaml', 'utf8'))
  assert.deepEqual(new Set(names), new Set(Object.keys(composed.secrets)))
  assert.deepEqual(new Set(behalf['secrets'] as string[]), new Set(names))
  for (const name of names) {
    assert.ok(readFileSync('deploy/compose.yaml', 'utf8').includes(`deploy/secrets/${name}`), name)
  }
})

test('probes ask the admin listener, and the one that restarts a pod does not ask for readiness', () => {
  const [container] = podOf(manifest('Deployment')).containers
  assert.deepEqual(
    ['startupProbe', 'readinessProbe', 'livenessProbe'].map(
      (name) => container![name as 'livenessProbe']?.httpGet,
    ),
    [
      { path: '/readyz', port: 'admin' },
      { path: '/readyz', port: 'admin' },
      { path: '/livez', port: 'admin' },
    ],
  )
})

test('a rolling update takes none away before another is ready', () => {
  const { strategy, replicas } = manifest('Deployment').spec
  assert.deepEqual(strategy.rollingUpdate, { maxUnavailable: 0, maxSurge: 1 })
  assert.equal(replicas, undefined)
  assert.ok(manifest('HorizontalPodAutoscaler').spec.minReplicas >= 2)
})

// https://kubernetes.io/docs/concepts/security/pod-security-standards/, "Restricted".
const RESTRICTED: Readonly<Record<string, (pod: PodSpec, container: Container) => unknown>> = {
  'no privilege escalation': (_pod, { securityContext }) =>
    securityContext['allowPrivilegeEscalation'] === false,
  'not root': ({ securityContext }) =>
    securityContext['runAsNonRoot'] === true && Number(securityContext['runAsUser']) > 0,
  'the default seccomp profile': ({ securityContext: { seccompProfile } }) =>
    (seccompProfile as { type: string }).type === 'RuntimeDefault',
  'no capabilities': (_pod, { securityContext: { capabilities } }) =>
    JSON.stringify(capabilities) === '{"drop":["ALL"]}',
  'not privileged': (_pod, { securityContext }) => !('privileged' in securityContext),
  'no namespaces of the host': (pod) =>
    !['hostNetwork', 'hostPID', 'hostIPC'].some((name) => name in pod),
  'no volumes of the host': ({ volumes }) => volumes.every((volume) => !('hostPath' in volume)),
  'no ports of the host': (_pod, { ports }) => ports.every((port) => !('hostPort' in port)),
  // Beyond the standard.
  'a root that cannot be written': (_pod, { securityContext }) =>
    securityContext['readOnlyRootFilesystem'] === true,
}

for (const [name, holds] of Object.entries(RESTRICTED)) {
  test(`pods are restricted: ${name}`, () => {
    for (const one of manifests.filter(({ kind }) => kind === 'Deployment')) {
      const pod = podOf(one)
      for (const container of pod.containers) assert.ok(holds(pod, container), one.metadata.name)
    }
  })
}

test('every selector is of pods that there are', () => {
  const labels = manifests
    .filter(({ kind }) => kind === 'Deployment')
    .map(({ spec }) => JSON.stringify(spec.template.metadata.labels))
  const selectors = manifests.flatMap(({ kind, spec }): unknown[] => {
    switch (kind) {
      case 'Service':
        return [spec.selector]
      case 'NetworkPolicy':
        return [spec.podSelector.matchLabels]
      case 'Deployment':
      case 'PodDisruptionBudget':
        return [spec.selector.matchLabels]
      default:
        return []
    }
  })
  assert.equal(selectors.length, 7)
  for (const selector of selectors) assert.ok(labels.includes(JSON.stringify(selector)))
})

test('each mount is of a volume, and no single file, which would never change', () => {
  for (const one of manifests.filter(({ kind }) => kind === 'Deployment')) {
    const { containers, volumes } = podOf(one)
    const names = volumes.map(({ name }) => name)
    for (const mount of containers.flatMap(({ volumeMounts }) => volumeMounts)) {
      assert.ok(names.includes(mount.name))
      assert.ok(!('subPath' in mount))
    }
  }
})

test('the configuration of the compose file loads, and agrees with it', async (t) => {
  const config = await loaded(t, readFileSync('deploy/behalf.yaml', 'utf8'))
  assert.equal(config.server.replicas, (behalf['deploy'] as { replicas: number }).replicas)
  const subnet = composed.networks['callers']?.ipam?.config[0]?.subnet
  assert.match(readFileSync('deploy/behalf.yaml', 'utf8'), new RegExp(`\\[${subnet}\\]`))
  const { delayMs, timeoutMs } = config.server.drain
  assert.ok(
    Number.parseInt(behalf['stop_grace_period'] as string, 10) * 1_000 > delayMs + timeoutMs,
  )
  // Nobody else stands in the network whose word counts, or beside Redis.
  const inNetwork = (network: string): readonly string[] =>
    Object.entries(composed.services)
      .filter(([, { networks }]) => (networks as string[]).includes(network))
      .map(([name]) => name)
  assert.deepEqual(inNetwork('callers'), ['balancer', 'behalf'])
  assert.deepEqual(inNetwork('cache'), ['behalf', 'redis'])
})

test('the image is of Node.js 24, runs as nobody, and holds what is built', () => {
  const lines = readFileSync('deploy/Dockerfile', 'utf8').split('\n')
  const images = lines.filter((line) => line.startsWith('FROM '))
  assert.deepEqual(images, [
    'FROM node:24-slim AS build',
    'FROM gcr.io/distroless/nodejs24-debian13:nonroot',
  ])
  for (const line of lines.filter((one) => /^COPY (?!--from)/.test(one))) {
    const [, ...paths] = line.split(' ')
    for (const path of paths.slice(0, -1)) assert.ok(existsSync(path), path)
  }
  const { bin } = JSON.parse(readFileSync('package.json', 'utf8')) as { bin: { behalf: string } }
  assert.ok(lines.at(-2)!.includes(`"${bin.behalf}", "serve"`))
  const ignored = readFileSync('.dockerignore', 'utf8').split('\n')
  for (const path of ['.env', '.git', 'deploy/secrets', 'node_modules']) {
    assert.ok(ignored.includes(path), path)
  }
})

test(
  'systemd has nothing to say about the unit',
  { skip: missing('systemd-analyze'), timeout: 60_000 },
  (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'behalf-unit-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const unit = readFileSync('deploy/systemd/behalf.service', 'utf8')
    const file = join(folder, 'behalf.service')
    // It looks for the program; where that is, is another machine's.
    writeFileSync(
      file,
      unit.replace('/usr/bin/node', process.execPath).replaceAll('/opt/behalf', folder),
    )
    writeFileSync(join(folder, 'README.md'), '')
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], {
      encoding: 'utf8',
    })
    assert.deepEqual([status, stdout, stderr], [0, '', ''])
  },
)

test('the unit gives a drain its time, and does not start again what cannot be used', async (t) => {
  const unit = readFileSync('deploy/systemd/behalf.service', 'utf8')
  const { server } = await loaded(t, readFileSync('deploy/behalf.yaml', 'utf8'))
  const [, seconds] = /^TimeoutStopSec=(\d+)$/m.exec(unit)!
  assert.ok(Number(seconds) * 1_000 > server.drain.delayMs + server.drain.timeoutMs)
  assert.match(unit, /^RestartPreventExitStatus=64 78$/m)
  assert.match(unit, /^ExecReload=\/bin\/kill -HUP \$MAINPID$/m)
  const [, name] = /^Environment=(BEHALF_\w+)=%d\//m.exec(unit)!
  const configuration = readFileSync('deploy/behalf.yaml', 'utf8').replace(/^ +secret: .*\n/m, '')
  const folder = mkdtempSync(join(tmpdir(), 'behalf-unit-'))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'secret'), 'the secret of the storefront')
  const file = join(folder, 'behalf.yaml')
  writeFileSync(file, configuration.replace(/^cache:[^]*/m, ''))
  const { apis } = await loadConfig(file, { environment: { [name!]: join(folder, 'secret') } })
  assert.equal(apis[0]!.client?.id, 'YOUR-CLIENT-ID')
})

test(
  'nginx reads the configuration of the balancer',
  { skip: missing('nginx'), timeout: 60_000 },
  (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'behalf-balancer-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const file = join(folder, basename('deploy/compose/nginx.conf'))
    const text = readFileSync('deploy/compose/nginx.conf', 'utf8')
    // Nobody here is called `behalf`, and an nginx before 1.27.3 asks for names but once.
    const here = text.replace('server behalf:8080 resolve;', 'server 127.0.0.1:8080;')
    writeFileSync(file, `pid ${folder}/pid; error_log stderr;\n${here}`)
    const { status, stderr } = spawnSync('nginx', ['-t', '-p', folder, '-c', file], {
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
  },
)

/** Proxies that end TLS and tell the certificate of the caller, as docs/operations.md says that they do. */
import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import https from 'node:https'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import { startIssuer } from '../issuer.ts'
import { missing, startProgram } from '../programs.ts'
import { assertHeadersAllowed, oneRoute, startGateway, startUpstream } from '../system.ts'

interface Place {
  readonly folder: string
  readonly port: number
  /** Host and port of the gateway. */
  readonly gateway: string
}

interface Front {
  readonly program: string
  readonly configuration: (place: Place) => string
  readonly args: (place: Place) => readonly string[]
}

const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

const FRONTS: Readonly<Record<string, Front>> = {
  nginx: {
    program: 'nginx',
    configuration: ({ folder, port, gateway }) => `
daemon off; master_process off; pid ${folder}/pid; error_log stderr; events {}
http {
  access_log off;
  ${TEMPORARY.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${folder}/own.pem;
    ssl_certificate_key ${folder}/own.pem;
    ssl_verify_client optional_no_ca;
    location / {
      proxy_pass http://${gateway};
      proxy_set_header X-Forwarded-Client-Cert 'Cert="$ssl_client_escaped_cert"';
      proxy_set_header Client-Cert "";
    }
  }
}`,
    args: ({ folder }) => ['-p', folder, '-c', join(folder, 'configuration')],
  },
  HAProxy: {
    program: 'haproxy',
    configuration: ({ folder, port, gateway }) => `
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend callers
  bind 127.0.0.1:${port} ssl crt ${folder}/own.pem ca-file ${folder}/ca.pem verify optional
  http-request del-header Client-Cert
  http-request del-header X-Forwarded-Client-Cert
  http-request set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used }
  default_backend behalf
backend behalf
  server behalf ${gateway}
`,
    args: ({ folder }) => ['-db', '-f', join(folder, 'configuration')],
  },
}

for (const [name, front] of Object.entries(FRONTS)) {
  const skip = NO_OPENSSL || missing(front.program)

  test(
    `${name} tells the certificate of the caller, and of nobody else`,
    { skip, timeout: 60_000 },
    async (t) => {
      const authority = createAuthority()
      const [alice, mallory] = [authority.issue('alice'), authority.issue('mallory')]
      const issuer = await startIssuer(t)
      const upstream = await startUpstream(t)
      const api = { proofOfPossession: { mechanism: 'mtls' } }
      const { origin } = await startGateway(t, {
        ...oneRoute({ issuer: issuer.url, upstream: upstream.origin, api }),
        server: { listen: '127.0.0.1:0', trustedProxies: ['127.0.0.1/32'] },
      })
      const port = await start(t, front, authority, new URL(origin).host)
      const { raw } = new X509Certificate(alice.certificate)
      const token = await issuer.token({ cnf: { 'x5t#S256': hash('sha256', raw, 'base64url') } })
      const told = {
        'client-cert': `:${raw.toString('base64')}:`,
        'x-forwarded-client-cert': `Hash=${hash('sha256', raw, 'hex')}`,
      }
      const get = (by: Partial<Pair>, more: object = {}): Promise<number> =>
        asked(port, authority, by, { authorization: `Bearer ${token}`, ...more })

      assert.equal(await get(alice), 200)
      assert.equal(await get(mallory), 401)
      assert.equal(await get({}), 401)
      for (const by of [mallory, {}]) assert.equal(await get(by, told), 401)
      assert.equal(await get(alice, told), 200)
      assertHeadersAllowed(upstream)
    },
  )
}

function asked(
  port: number,
  { certificate: ca }: Authority,
  { certificate: cert, key }: Partial<Pair>,
  headers: Readonly<Record<string, string>>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const own = { ca, ...(cert && { cert }), ...(key && { key }) }
    const path = '/orders'
    const request = https.get({ host: '127.0.0.1', port, path, agent: false, headers, ...own })
    request.on('error', reject)
    request.on('response', (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0))
    })
  })
}

/** Its port. */
function start(
  t: TestContext,
  { program, configuration, args }: Front,
  authority: Authority,
  gateway: string,
): Promise<number> {
  const { certificate, key } = authority.issue('front')
  return startProgram(t, {
    program,
    args(port, folder) {
      const place = { folder, port, gateway }
      writeFileSync(join(folder, 'own.pem'), certificate + key)
      writeFileSync(join(folder, 'ca.pem'), authority.certificate)
      writeFileSync(join(folder, 'configuration'), configuration(place))
      return args(place)
    },
  })
}

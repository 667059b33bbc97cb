/** An issuer whose every answer a test can decide: a key set, and a token endpoint that exchanges. */
import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWTPayload } from 'jose'
import { listen, type Scope } from './system.ts'

export interface TestIssuer {
  /** Its `iss`, with a trailing slash. */
  readonly url: string
  /** The forms that the token endpoint received, in order. */
  readonly exchanges: URLSearchParams[]
  /** How often the key set was asked for. */
  keySetRequests: number
  /** A subject token for the storefront, with these claims over the usual ones; `undefined` removes one. */
  token(claims?: JWTPayload): Promise<string>
  /** As the usual one, but signed with a secret (HS256). */
  signedBy(secret: string): Promise<string>
  /** A token with exactly these claims beside `iss`, `iat` and `exp`. */
  sign(claims: JWTPayload): Promise<string>
  /** Answers the next exchanges in place of the usual answer. */
  answer: (form: URLSearchParams, response: http.ServerResponse) => void | Promise<void>
  /** The usual answer: the subject's token for the asked audience and scope. */
  issue: (form: URLSearchParams, response: http.ServerResponse, members?: object) => Promise<void>
  /** Stops listening and cuts every connection. */
  kill(): Promise<void>
}

/** RSA keys are slow to make, and no test here depends on which one it has. */
const keyPair = generateKeyPair('RS256')

/**
 * @param port of a dead issuer, to start it again: all issuers of one process sign with the same key. Default: any that
 *   is free.
 */
export async function startIssuer(t: Scope, port = 0): Promise<TestIssuer> {
  const { privateKey, publicKey } = await keyPair
  const jwk = { ...(await exportJWK(publicKey)), kid: 'test', alg: 'RS256' }
  const exchanges: URLSearchParams[] = []
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', issuer.url)
    if (pathname === '/.well-known/openid-configuration') {
      const { url } = issuer
      respond(response, { issuer: url, jwks_uri: `${url}jwks`, token_endpoint: `${url}token` })
    } else if (pathname === '/jwks') {
      issuer.keySetRequests++
      respond(response, { keys: [jwk] })
    } else {
      void formOf(request).then((form) => {
        exchanges.push(form)
        return issuer.answer(form, response)
      })
    }
  })
  const issuer: TestIssuer = {
    url: '',
    exchanges,
    keySetRequests: 0,
    token: (claims = {}) => sign(privateKey, issuer.url, { ...SUBJECT, ...claims }),
    signedBy: (secret) => jwt(issuer.url, SUBJECT, { alg: 'HS256' }).sign(Buffer.from(secret)),
    sign: (claims) => sign(privateKey, issuer.url, claims),
    answer: (form, response) => issuer.issue(form, response),
    async issue(form, response, members = {}) {
      const subject = claimsOf(form.get('subject_token') ?? '')
      const access_token = await issuer.sign({
        sub: subject.sub ?? '',
        aud: form.get('audience') ?? '',
        scope: form.get('scope') ?? '',
        act: { sub: 'storefront' },
      })
      respond(response, {
        access_token,
        token_type: 'Bearer',
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        expires_in: 3_600,
        ...members,
      })
    },
    kill: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return Object.assign(issuer, { url: `${await listen(t, server, port)}/` })
}

const SUBJECT: JWTPayload = {
  sub: 'user|alice',
  aud: 'https://storefront.example',
  scope: 'read:orders',
  azp: 'spa',
}

async function sign(key: CryptoKey, issuer: string, claims: JWTPayload): Promise<string> {
  return jwt(issuer, claims, { alg: 'RS256', kid: 'test' }).sign(key)
}

function jwt(issuer: string, claims: JWTPayload, header: { alg: string; kid?: string }): SignJWT {
  const now = Math.floor(Date.now() / 1_000)
  const usual = { iss: issuer, iat: now, exp: now + 3_600, jti: randomUUID() }
  return new SignJWT({ ...usual, ...claims }).setProtectedHeader({ typ: 'at+jwt', ...header })
}

function claimsOf(token: string): JWTPayload {
  const [, payload = ''] = token.split('.')
  return JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as JWTPayload
}

async function formOf(request: http.IncomingMessage): Promise<URLSearchParams> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return new URLSearchParams(text)
}

export function respond(response: http.ServerResponse, body: object, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

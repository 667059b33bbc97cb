import http from 'node:http'
import { listen, type Scope } from '../system.ts'

/**
 * What one writes first: drop the hop-by-hop headers, then pipe. `node:http` frames a body of unknown length only for
 * methods that usually have one; of the others it sends the bytes as they are. It shows that the framing load finds that.
 */
export async function startNaiveProxy(scope: Scope, upstream: string): Promise<string> {
  const agent = new http.Agent({ keepAlive: true })
  const server = http.createServer((request, response) => {
    const { 'transfer-encoding': _coding, connection: _connection, ...headers } = request.headers
    const forwarded = http.request(
      new URL(request.url ?? '/', upstream),
      { method: request.method, headers, agent },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      },
    )
    forwarded.on('error', () => response.destroy())
    request.pipe(forwarded)
  })
  const origin = await listen(scope, server)
  scope.after(() => agent.destroy())
  return origin
}

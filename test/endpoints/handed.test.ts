import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import { answering } from '../../src/endpoints/handed.ts'
import { listen } from '../system.ts'

/** A request that waits for its answer, and its caller. */
async function arrived(
  t: TestContext,
): Promise<{ readonly response: http.ServerResponse; readonly caller: http.ClientRequest }> {
  const requests = new EventEmitter()
  const origin = await listen(
    t,
    http.createServer((_request, response) => requests.emit('one', response)),
  )
  const caller = http.get(origin)
  caller.on('error', () => undefined)
  const [response] = (await once(requests, 'one')) as [http.ServerResponse]
  return { response, caller }
}

/** Nothing here waits for ever. */
const bounded = { timeout: 60_000 }

test('an answer ends when its caller has it', bounded, async (t) => {
  const { response } = await arrived(t)
  assert.equal(await answering(response, () => response.end('ok')), 'answered')
})

test(
  'a caller that left before the answer is not answered, and not waited for',
  bounded,
  async (t) => {
    const { response, caller } = await arrived(t)
    const closed = once(response, 'close')
    caller.destroy()
    await closed
    let answered = false
    assert.throws(() => answering(response, () => (answered = true)), { name: 'CallerGone' })
    assert.equal(answered, false)
  },
)

test('a caller that leaves within the answer is not waited for', bounded, async (t) => {
  const { response, caller } = await arrived(t)
  const answer = answering(response, () => response.write('half'))
  caller.destroy()
  await assert.rejects(answer, { name: 'CallerGone' })
})

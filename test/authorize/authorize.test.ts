import assert from 'node:assert/strict'
import { test } from 'node:test'
import { authorize } from '../../src/authorize/authorize.ts'
import { route, subject } from '../support.ts'

interface Case {
  readonly needs: { scopes?: string[]; anyScope?: string[]; permissions?: string[] }
  readonly has: { scopes?: string[]; permissions?: string[] }
  /** What the challenge must name; undefined where the subject may pass. */
  readonly lacks?: string[]
}

const CASES: readonly Case[] = [
  { needs: {}, has: {} },
  { needs: {}, has: { scopes: ['a'], permissions: ['p'] } },
  { needs: { scopes: ['a'] }, has: { scopes: ['a'] } },
  { needs: { scopes: ['a'] }, has: { scopes: ['b', 'a'] } },
  { needs: { scopes: ['a'] }, has: {}, lacks: ['a'] },
  { needs: { scopes: ['a', 'b'] }, has: { scopes: ['b', 'a'] } },
  { needs: { scopes: ['a', 'b'] }, has: { scopes: ['a'] }, lacks: ['a', 'b'] },
  { needs: { scopes: ['a', 'b'] }, has: { scopes: ['b'] }, lacks: ['a', 'b'] },
  { needs: { scopes: ['a'] }, has: { scopes: ['A'] }, lacks: ['a'] },
  { needs: { scopes: ['a'] }, has: { scopes: ['ab', 'a:b', 'a b'] }, lacks: ['a'] },
  { needs: { scopes: ['a'] }, has: { permissions: ['a'] }, lacks: ['a'] },
  { needs: { anyScope: ['a', 'b'] }, has: { scopes: ['b'] } },
  { needs: { anyScope: ['a', 'b'] }, has: { scopes: ['a'] } },
  { needs: { anyScope: ['a', 'b'] }, has: { scopes: ['c'] }, lacks: ['a', 'b'] },
  { needs: { anyScope: ['a'] }, has: { permissions: ['a'] }, lacks: ['a'] },
  { needs: { scopes: ['a'], anyScope: ['b', 'c'] }, has: { scopes: ['a', 'c'] } },
  { needs: { scopes: ['a'], anyScope: ['b', 'c'] }, has: { scopes: ['a'] }, lacks: ['b', 'c'] },
  { needs: { scopes: ['a'], anyScope: ['b', 'c'] }, has: { scopes: ['b'] }, lacks: ['a'] },
  { needs: { permissions: ['p'] }, has: { permissions: ['p', 'q'] } },
  { needs: { permissions: ['p', 'q'] }, has: { permissions: ['q'] }, lacks: ['p', 'q'] },
  { needs: { permissions: ['p'] }, has: { scopes: ['p'] }, lacks: ['p'] },
  {
    needs: { scopes: ['a'], permissions: ['p'] },
    has: { scopes: ['a'], permissions: [] },
    lacks: ['p'],
  },
  { needs: { scopes: ['a'], permissions: ['p'] }, has: { scopes: ['a'], permissions: ['p'] } },
]

for (const { needs, has, lacks } of CASES) {
  const verdict = lacks === undefined ? 'may pass' : `is told to bring ${lacks.join(' ')}`
  test(`where ${JSON.stringify(needs)} is needed, ${JSON.stringify(has)} ${verdict}`, () => {
    const of = subject({ scopes: new Set(has.scopes), permissions: new Set(has.permissions) })
    const to = route({ authorize: needs })
    if (lacks === undefined) {
      const permit = authorize(of, to)
      assert.equal(permit.subject, of)
      assert.equal(permit.route, to)
      return
    }
    assert.throws(() => authorize(of, to), {
      code: 'insufficient_scope',
      status: 403,
      scopes: lacks,
    })
  })
}

test('no scope is had by inheritance', () => {
  const to = route({ authorize: { scopes: ['constructor'] } })
  assert.throws(() => authorize(subject(), to), { code: 'insufficient_scope' })
})

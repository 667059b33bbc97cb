import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { COMMANDS } from '../../src/store/commands.ts'
import { rulesOfUser } from '../redis.ts'

/** All that scripts call, wherever they stand. */
function called(): ReadonlySet<string> {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  const texts = files
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join('src', name), 'utf8'))
  const calls = texts.flatMap((text) => [...text.matchAll(/redis\.p?call\('([A-Z]+)'/g)])
  return new Set(calls.map(([, command = '']) => command.toLowerCase()))
}

/** What is sent as it is; the library sends the rest of these by itself. */
const UNSCRIPTED = ['hello', 'auth', 'select', 'ping', 'role', 'cluster|slots', 'asking']
const SCRIPTING = ['eval', 'evalsha']

test('scripts call the commands of the list, and the list holds no other', () => {
  const expected = [...called(), ...UNSCRIPTED, ...SCRIPTING]
  assert.deepEqual([...COMMANDS].sort(), expected.sort())
})

test('the access control that is shipped allows the commands of the list, and nothing else', () => {
  const rules = rulesOfUser()
  const allowed = rules.filter((rule) => rule.startsWith('+')).map((rule) => rule.slice(1))
  assert.deepEqual(allowed.sort(), [...COMMANDS].sort())
  const others = rules.filter((rule) => !rule.startsWith('+'))
  assert.deepEqual(others, ['behalf', 'on', '>CHANGE-ME', 'resetchannels', '~behalf:*', '-@all'])
})

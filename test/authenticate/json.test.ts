import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseJson, parseJsonObject } from '../../src/authenticate/json.ts'

/** Each with a twin that differs in one thing. */
const AMBIGUOUS: readonly (readonly [what: string, text: string, twin: string])[] = [
  ['a name twice', '{"a":1,"a":2}', '{"a":1,"b":2}'],
  ['a name twice with the same value', '{"a":1,"a":1}', '{"a":1,"b":1}'],
  ['a name twice, with another between', '{"a":1,"b":2,"a":3}', '{"a":1,"b":2,"c":3}'],
  ['a name twice, once with an escape', '{"sub":1,"s\\u0075b":2}', '{"sub":1,"s\\u0076b":2}'],
  ['a name twice, both with an escape', '{"\\/":1,"\\u002f":2}', '{"\\/":1,"\\u002e":2}'],
  ['an empty name twice', '{"":1,"":2}', '{"":1," ":2}'],
  ['a name twice in an object in a list', '[{"a":1},{"a":1,"a":2}]', '[{"a":1},{"a":1,"b":2}]'],
  ['a name twice around an object', '{"a":{"b":1},"a":2}', '{"a":{"a":1},"b":2}'],
  ['a name twice around a list of strings', '{"a":["a","a"],"a":2}', '{"a":["a","a"],"b":"a"}'],
  ['__proto__ twice', '{"__proto__":1,"__proto__":2}', '{"__proto__":1,"proto":2}'],
  ['half a character in a value', '{"a":"\\ud800"}', '{"a":"\\ud83d\\ude00"}'],
  ['half a character in a name', '{"\\udc00":1}', '{"\\u0100":1}'],
  ['half a character after an escaped backslash', '["\\\\\\ud800"]', '["\\\\ud800"]'],
  [
    'more than 32 levels',
    `${'['.repeat(33)}${']'.repeat(33)}`,
    `${'['.repeat(32)}${']'.repeat(32)}`,
  ],
  ['a second value', '{}{}', '[{},{}]'],
  ['a string without an end', '{"a":"b', '{"a":"b"}'],
  ['a string whose end is escaped', '["\\"]', '["\\\\"]'],
  ['a comma at the end', '{"a":1,}', '{"a":1}'],
  ['a comment', '{"a":1/* "a" */}', '{"a":1}'],
  ['a byte order mark', '\ufeff{}', '{}'],
  ['nothing', '', '0'],
]
for (const [what, text, twin] of AMBIGUOUS) {
  test(`JSON with ${what} is refused`, () => {
    assert.throws(() => parseJson(text), SyntaxError)
    assert.deepEqual(parseJson(twin), JSON.parse(twin))
  })
}

test('what is refused is not quoted', () => {
  for (const text of [
    'canary',
    '{"canary":1,"canary":2}',
    '["\\ucanary"]',
    '{"a":canary}',
    '[canary',
  ]) {
    assert.throws(
      () => parseJson(text),
      (error: Error) => error instanceof SyntaxError && !error.message.includes('canary'),
    )
  }
})

for (const text of ['[]', 'null', '"{}"', '1', 'true']) {
  test(`${text} is no JSON object`, () => {
    assert.throws(() => parseJsonObject(text), SyntaxError)
    assert.deepEqual(parseJsonObject('{}'), {})
  })
}

test('a million characters are read in time that grows with them alone', () => {
  const texts = [
    `[${'"\\u0041",'.repeat(110_000)}0]`,
    `{${Array.from({ length: 70_000 }, (_, index) => `"n${index}":""`).join(',')}}`,
    '"'.repeat(1_000_000),
    '\\'.repeat(1_000_000),
    '['.repeat(1_000_000),
    `"${'\\\\'.repeat(500_000)}"`,
  ]
  const startedAt = process.cpuUsage()
  for (const text of texts) {
    try {
      parseJson(text)
    } catch (error) {
      assert.ok(error instanceof SyntaxError)
    }
  }
  // Quadratic work would take minutes.
  assert.ok(process.cpuUsage(startedAt).user < 5_000_000)
})

import { Refusal } from './refusal.ts'

/** The parameters of a token request, each once, none of them empty. */
export class Form {
  readonly #values: ReadonlyMap<string, string>

  constructor(values: Iterable<readonly [string, string]>) {
    this.#values = new Map(values)
  }

  get(name: string): string | undefined {
    return this.#values.get(name)
  }

  /** @throws {Refusal} `invalid_request` */
  required(name: string): string {
    const value = this.#values.get(name)
    if (value === undefined)
      throw new Refusal('invalid_request', `Missing required parameter: ${name}`)
    return value
  }

  /** The scopes in `scope`; undefined if it is left out. */
  scopes(): readonly string[] | undefined {
    const names = this.#values
      .get('scope')
      ?.split(' ')
      .filter((name) => name !== '')
    return names === undefined ? undefined : [...new Set(names)]
  }
}

/**
 * Reads the output of a body parser for forms or JSON. RFC 6749, section 3.2: a parameter without a value counts as
 * omitted, one that comes twice is an error.
 *
 * @throws {Refusal} `invalid_request`
 */
export function readForm(body: unknown): Form {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Refusal('invalid_request', 'The body must be a form or a JSON object')
  }
  const values: [string, string][] = []
  for (const [name, value] of Object.entries(body) as [string, unknown][]) {
    if (value === '' || value === null) continue
    if (typeof value !== 'string') {
      throw new Refusal('invalid_request', `Parameter ${name} must be one string`)
    }
    values.push([name, value])
  }
  return new Form(values)
}

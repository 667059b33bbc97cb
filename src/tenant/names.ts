import { randomBytes } from 'node:crypto'

/** Letters and digits, as Auth0's ids are. */
export function randomName(length: number): string {
  let name = ''
  while (name.length < length)
    name += randomBytes(64)
      .toString('base64')
      .replace(/[^\w]|_/g, '')
  return name.slice(0, length)
}

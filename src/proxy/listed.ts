/** Collects the names in a Connection header. Its usual values are skipped: they name no header that would be forwarded. */
export function listed(value: string, before: Set<string> | undefined): Set<string> | undefined {
  if (value === 'keep-alive' || value === 'close' || value === 'Keep-Alive') return before
  const names = before ?? new Set()
  for (const name of value.split(',')) names.add(name.trim().toLowerCase())
  return names
}

export function removeListed(headers: string[], names: ReadonlySet<string>): void {
  let kept = 0
  for (let index = 0; index < headers.length; index += 2) {
    if (names.has(headers[index]!.toLowerCase())) continue
    headers[kept++] = headers[index]!
    headers[kept++] = headers[index + 1]!
  }
  headers.length = kept
}

/** Tells the parent where this process listens and, whenever it asks, the CPU time that the kernel has charged it with. */
export function reportUsage(origin: string): void {
  process.on('message', () => process.send?.(process.cpuUsage()))
  process.on('disconnect', () => process.exit(0))
  process.send?.({ origin })
}

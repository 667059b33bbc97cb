/** What a connection begins and ends with, and is kept by. */
const OF_CONNECTIONS = ['hello', 'auth', 'select', 'ping'] as const
/** By Sentinels' protocol a server is asked whether it is the master. */
const OF_SENTINELS = ['role'] as const
/** Who has which slot, and what is asked of one that is on its way to somebody else. */
const OF_CLUSTERS = ['cluster|slots', 'asking'] as const
/** Everything else is done within scripts. */
const OF_SCRIPTS = ['eval', 'evalsha'] as const
const WITHIN_SCRIPTS = [
  ...['time', 'get', 'mget', 'set', 'del', 'strlen', 'pexpire'],
  ...['hgetall', 'hset', 'hdel'],
  ...['zadd', 'zcard', 'zcount', 'zscore', 'zrangebyscore'],
  ...['zrem', 'zremrangebyrank', 'zremrangebyscore'],
] as const

/**
 * All that is ever asked of Redis, by the names of its access control: `deploy/redis/users.acl` allows these and no others.
 * Sentinels themselves are asked for `sentinel|get-master-addr-by-name`.
 */
export const COMMANDS: readonly string[] = [
  ...OF_CONNECTIONS,
  ...OF_SENTINELS,
  ...OF_CLUSTERS,
  ...OF_SCRIPTS,
  ...WITHIN_SCRIPTS,
]

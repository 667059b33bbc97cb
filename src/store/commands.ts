/** Open a connection, and find out whether it is alive. */
const OF_CONNECTIONS = ['hello', 'auth', 'select', 'ping'] as const
/** The protocol of Sentinels wants a server to be asked whether it is the master. */
const OF_SENTINELS = ['role'] as const
/** Which master has which slot, and what precedes a command for a slot that is being moved to another. */
const OF_CLUSTERS = ['cluster|slots', 'asking'] as const
/** All other commands are called by scripts. */
const OF_SCRIPTS = ['eval', 'evalsha'] as const
const WITHIN_SCRIPTS = [
  ...['time', 'get', 'mget', 'set', 'del', 'strlen', 'pexpire'],
  ...['hgetall', 'hset', 'hdel'],
  ...['zadd', 'zcard', 'zcount', 'zscore', 'zrangebyscore'],
  ...['zrem', 'zremrangebyrank', 'zremrangebyscore'],
] as const

/**
 * All commands that are ever sent to Redis, by the names of its access control: `deploy/redis/users.acl` allows these and no
 * others. Sentinels are sent `sentinel|get-master-addr-by-name` besides those that open a connection.
 */
export const COMMANDS: readonly string[] = [
  ...OF_CONNECTIONS,
  ...OF_SENTINELS,
  ...OF_CLUSTERS,
  ...OF_SCRIPTS,
  ...WITHIN_SCRIPTS,
]

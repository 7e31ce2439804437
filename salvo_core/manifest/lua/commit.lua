-- Ends a trial for the attempt that holds it, once.
-- KEYS[6] journal  KEYS[7] votes.  ARGV: index, attempt, worker, status, result, then counter field, increment, ...
-- -> {1, is_last, release_from, release_to, index not to release, ...} | {0} fenced: throw the result away
local index, attempt, worker, status = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local held, trace_id = holds(index, attempt, worker)
if not held then return {0} end
write_row(index, status, attempt, trace_id, ARGV[5])
redis.call('ZREM', LEASES, index)
let_suspect_go(index)
redis.call('HDEL', STRIKES, index)
redis.call('HDEL', SUSPECTS, index .. ':past')
redis.call('DEL', KEYS[6], KEYS[7])
count('running', -1)
count(status, 1)
for i = 6, #ARGV, 2 do count(ARGV[i], ARGV[i + 1]) end
local last = book_end(1)
return before(release_more(), 1, last)

-- Ends a trial for the attempt that holds it, once.
-- KEYS[6] journal  KEYS[7] votes.  ARGV: index, attempt, worker, status, result, then counter field, increment, ...
-- -> {1, is_last, release_from, release_to, index not to release, ...} | {0} fenced: throw the result away
local index, attempt, worker, status = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local held, trace_id = holds(index, attempt, worker)
if not held then
  local ended, by_attempt, _, result = read_row(index)
  if ended ~= status or by_attempt ~= attempt or result ~= ARGV[5] then return {0} end
  -- This very call has been heard before, and its answer was lost: what is asked for twice is answered twice.
  return before(release_more(), 1, redis.call('HGET', RUN, 'state') == 'finished' and 1 or 0)
end
redis.call('ZREM', LEASES, index)  -- first: a script that has freed something may write when memory is full
write_row(index, status, attempt, trace_id, ARGV[5])
let_suspect_go(index)
redis.call('HDEL', STRIKES, index)
redis.call('HDEL', SUSPECTS, index .. ':past')
redis.call('DEL', KEYS[6], KEYS[7])
count('running', -1)
count(status, 1)
for i = 6, #ARGV, 2 do count(ARGV[i], ARGV[i + 1]) end
local last = book_end(1)
return before(release_more(), 1, last)

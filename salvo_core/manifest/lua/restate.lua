-- Puts another row in the place of one that is still as the caller read it, and books the difference.
-- KEYS[6...] journals.  ARGV: index, the row as read ('' when there was none), the row to be, then counter field,
-- increment, ... -> 1 done, 0 somebody has changed it since and nothing happened
local index = ARGV[1]
if (redis.call('HGET', ROWS, index) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', ROWS, index, ARGV[3])
for i = 4, #ARGV, 2 do count(ARGV[i], ARGV[i + 1]) end
redis.call('ZREM', LEASES, index)
redis.call('HDEL', STRIKES, index)
if read_row(index) ~= 'pending' then  -- what waits may go on from its journal
  for i = 6, #KEYS do redis.call('DEL', KEYS[i]) end
end
settle()
return 1

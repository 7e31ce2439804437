-- Removes what only an unfinished trial has, from one that has ended; gives a running one without a lease a lease.
-- KEYS[6...] journals.  ARGV: index, lease_ms -> how many things were put right
local index, status = ARGV[1], (read_row(ARGV[1]))
if status == 'running' then
  -- Nobody would ever take it back. If its worker lives, it renews this lease; if not, the lease runs out.
  return redis.call('ZADD', LEASES, 'NX', now_ms() + tonumber(ARGV[2]), index)
end
local removed = redis.call('ZREM', LEASES, index)
if status == 'pending' then return removed end
removed = removed + redis.call('HDEL', STRIKES, index)
for i = 6, #KEYS do removed = removed + redis.call('DEL', KEYS[i]) end
return removed

-- Takes back trials whose lease ended without a word; each counts a strike.
-- ARGV: at most how many, server ms at which the caller looked, 0 if it did not
-- -> indices that are pending again: publish their messages
-- The row still names its worker, which may be alive behind a broken line: `renew` gives it back to that one.
-- A server that stood still hears old calls first, before those that would have kept the leases alive.
if tonumber(ARGV[2]) > 0 and now_ms() - ARGV[2] > 5000 then return {} end
local again = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now_ms(), 'LIMIT', 0, ARGV[1])
for _, index in ipairs(again) do
  local _, attempt, trace_id, worker = read_row(index)
  redis.call('ZREM', LEASES, index)  -- first: a script that has freed something may write when memory is full
  write_row(index, 'pending', attempt, trace_id, worker)
  redis.call('HINCRBY', STRIKES, index, 1)
  count('running', -1)
  count('pending', 1)
  count('expired', 1)
end
return again

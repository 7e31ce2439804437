-- Takes back trials whose lease ended without a word; each counts a strike. ARGV: at most how many
-- -> indices that are pending again: publish their messages
local again = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now_ms(), 'LIMIT', 0, ARGV[1])
for _, index in ipairs(again) do
  local _, attempt, trace_id = read_row(index)
  write_row(index, 'pending', attempt, trace_id)
  redis.call('ZREM', LEASES, index)
  redis.call('HINCRBY', STRIKES, index, 1)
  count('running', -1)
  count('pending', 1)
  count('expired', 1)
end
return again

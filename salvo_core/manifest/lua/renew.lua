-- Prolongs the leases a worker holds in one run. ARGV: worker, lease_ms, then index, attempt, ...
-- -> {state of the run (state_told), index that is no longer held, ...}
local reply, ends = {state_told()}, now_ms() + tonumber(ARGV[2])
for i = 3, #ARGV, 2 do
  if holds(ARGV[i], ARGV[i + 1], ARGV[1]) then
    redis.call('ZADD', LEASES, ends, ARGV[i])
  else
    reply[#reply + 1] = ARGV[i]
  end
end
return reply

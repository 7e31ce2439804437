-- Lets the next probe be sent at once. KEYS[1] the breaker.  ARGV: who gives its probe up; empty when somebody says
-- that the provider is mended -> 1 it may be probed, 0 nothing to do
local state, prober = redis.call('HGET', KEYS[1], 'state'), redis.call('HGET', KEYS[1], 'prober')
if not (ARGV[1] == '' and state == 'open' or ARGV[1] ~= '' and state == 'probing' and prober == ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'state', 'open', 'due_ms', 0, 'prober', '')
return 1

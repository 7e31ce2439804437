-- Notes that a provider answered. KEYS[1] its breaker.  ARGV: who asked, 1 if it was a probe -> 1 it is closed
-- What was sent before it opened, and comes back now, says nothing about now.
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'open' then return 0 end
if state == 'probing' and not (ARGV[2] == '1' and redis.call('HGET', KEYS[1], 'prober') == ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
return 1

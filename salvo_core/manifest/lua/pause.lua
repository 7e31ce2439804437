-- Begins no more trials until the run is resumed. ARGV: none -> 1 paused now, 0 it was not running
local state = redis.call('HGET', RUN, 'state')
if state ~= 'submitting' and state ~= 'running' then return 0 end
redis.call('HSET', RUN, 'state', 'paused')
return 1

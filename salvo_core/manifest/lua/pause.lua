-- Begins no more trials until the run is resumed. ARGV: why, empty for a person's wish -> 1 paused now, 0 it was not running
local state = redis.call('HGET', RUN, 'state')
if state ~= 'submitting' and state ~= 'running' then return 0 end
redis.call('HSET', RUN, 'state', 'paused')
if ARGV[1] ~= '' then redis.call('HSET', RUN, 'paused_by', ARGV[1]) end
return 1

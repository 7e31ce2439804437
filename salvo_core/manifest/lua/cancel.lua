-- Stops a run: no trial is begun any more. ARGV: 1 to let go of exchanges under way as well -> {changed, state}
local state, at_once = redis.call('HGET', RUN, 'state'), ARGV[1] == '1'
if state == 'cancelling' and at_once then return {redis.call('HSETNX', RUN, 'at_once', 1), state} end
if state ~= 'submitting' and state ~= 'running' and state ~= 'paused' then return {0, state or 'unknown'} end
redis.call('HSET', RUN, 'state', 'cancelling')
redis.call('DEL', AGAIN) -- they are closed as they are, however many at once
if at_once then redis.call('HSET', RUN, 'at_once', 1) end
return {1, 'cancelling'}

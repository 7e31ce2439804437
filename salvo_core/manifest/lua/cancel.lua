-- Stops a run: no trial is begun any more. ARGV: none -> {changed, state}
local state = redis.call('HGET', RUN, 'state')
if state ~= 'submitting' and state ~= 'running' and state ~= 'paused' then return {0, state or 'unknown'} end
redis.call('HSET', RUN, 'state', 'cancelling')
return {1, 'cancelling'}

-- Lets a paused run go on where it stood, its submission too. ARGV: none -> 1 it goes on, 0 it was not paused
if redis.call('HGET', RUN, 'state') ~= 'paused' then return 0 end
local seeded = number(RUN, 'seeded') >= number(RUN, 'total')
redis.call('HDEL', RUN, 'paused_by')
redis.call('HSET', RUN, 'state', seeded and 'running' or 'submitting')
return 1

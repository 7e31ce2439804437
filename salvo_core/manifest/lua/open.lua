-- Makes the run's header unless it is there. ARGV: field, value, ... -> 1 made, 0 was there
if redis.call('EXISTS', RUN) == 1 then return 0 end
redis.call('HSET', RUN, 'state', 'submitting', 'seeded', 0, 'released', 0, 'created_ms', now_ms(), unpack(ARGV))
return 1

-- Every row is seeded: the run is running. ARGV: none -> the state it has now
if redis.call('HGET', RUN, 'state') == 'submitting' and number(RUN, 'seeded') >= number(RUN, 'total') then
  redis.call('HSET', RUN, 'state', 'running')
end
return redis.call('HGET', RUN, 'state')

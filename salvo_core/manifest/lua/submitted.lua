-- Every row is seeded: the run is running, or finished if all of them had ended before (a rebuild restores
-- rows first). ARGV: none -> the state it has now
if redis.call('HGET', RUN, 'state') == 'submitting' and number(RUN, 'seeded') >= number(RUN, 'total') then
  redis.call('HSET', RUN, 'state', 'running')
  settle()
end
return redis.call('HGET', RUN, 'state')

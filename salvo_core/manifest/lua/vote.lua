-- Adds one vote of a judge for the attempt that holds the trial.
-- KEYS[6] votes.  ARGV: index, attempt, worker, question:number, vote -> the run's state, or 0 when fenced
if not holds(ARGV[1], ARGV[2], ARGV[3]) then return 0 end
-- The first one counts: a call that is sent again, its first reply lost, changes nothing.
redis.call('HSETNX', KEYS[6], ARGV[4], ARGV[5])
return redis.call('HGET', RUN, 'state')

-- Adds one vote of a judge for the attempt that holds the trial.
-- KEYS[6] votes.  ARGV: index, attempt, worker, question:number, vote -> the run's state (state_told), or 0 when fenced
if not holds(ARGV[1], ARGV[2], ARGV[3]) then return 0 end
-- The first one counts: a call that is sent again, its first reply lost, changes nothing.
if redis.call('HSETNX', KEYS[6], ARGV[4], ARGV[5]) == 1 then acquit(ARGV[1]) end
return state_told()

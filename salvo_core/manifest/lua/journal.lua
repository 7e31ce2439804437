-- Adds one completed turn of the attempt that holds the trial.
-- KEYS[6] journal.  ARGV: index, attempt, worker, turn's number, turn -> the run's state (state_told), or 0 when fenced
if not holds(ARGV[1], ARGV[2], ARGV[3]) then return 0 end
-- Only in its own place: a call that is sent again, its first reply lost, must not say the turn twice,
-- and a turn whose forerunners a crash of Redis took must not be said in their place.
if redis.call('LLEN', KEYS[6]) == tonumber(ARGV[4]) then
  redis.call('RPUSH', KEYS[6], ARGV[5])
  acquit(ARGV[1])
end
return state_told()

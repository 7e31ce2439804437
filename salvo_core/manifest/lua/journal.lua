-- Adds one completed turn of the attempt that holds the trial.
-- KEYS[6] journal.  ARGV: index, attempt, worker, turn -> 1 kept, 0 fenced
if not holds(ARGV[1], ARGV[2], ARGV[3]) then return 0 end
redis.call('RPUSH', KEYS[6], ARGV[4])
return 1

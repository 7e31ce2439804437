-- Ends a trial for the attempt that holds it, before it has said or paid anything. ARGV: index, attempt, worker, reason
-- -> {1, is_last, release_from, release_to, index passed over, ...} | {0} fenced
local index, attempt = ARGV[1], ARGV[2]
local held, trace_id = holds(index, attempt, ARGV[3])
if not held then return {0} end
redis.call('ZREM', LEASES, index)
acquit(index)
count('running', -1)
count('pending', 1)
return before(skip_row(index, attempt, trace_id, ARGV[4]), 1)

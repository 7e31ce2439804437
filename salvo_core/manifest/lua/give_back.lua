-- Returns a trial unfinished, at once and without a strike. ARGV: index, attempt, worker -> 1 given back, 0 fenced
local index, attempt = ARGV[1], ARGV[2]
local held, trace_id = holds(index, attempt, ARGV[3])
if not held then return 0 end
redis.call('ZREM', LEASES, index)  -- first: a script that has freed something may write when memory is full
write_row(index, 'pending', attempt, trace_id)
let_suspect_go(index)
count('running', -1)
count('pending', 1)
return 1

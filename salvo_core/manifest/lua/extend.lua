-- Gives a run more trials; one that is over is being submitted again. ARGV: trials in all
-- -> 1 it has more now, 0 it had so many, -1 it is being cancelled, or there is no such run
local state, total = redis.call('HGET', RUN, 'state'), tonumber(ARGV[1])
if not state or state == 'cancelling' then return -1 end
if number(RUN, 'total') >= total then return 0 end
let_cursor_stand_at(number(RUN, 'total'))
redis.call('HSET', RUN, 'total', total)
-- Also a running one: should the submitter die, sweeps look for a submission that stands still.
if state ~= 'paused' then redis.call('HSET', RUN, 'state', 'submitting') end
redis.call('HDEL', RUN, 'finished_ms', 'verdict', 'exit_code', 'at_once')
for _, key in ipairs({RUN, ROWS, COUNTERS}) do redis.call('PERSIST', key) end
return 1

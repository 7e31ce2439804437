-- Writes a finished run's verdict and lets its keys expire. ARGV: verdict, exit_code, keep_ms -> 1 sealed, 0 not finished
local state = redis.call('HGET', RUN, 'state')
if state ~= 'finished' and state ~= 'sealed' then return 0 end
redis.call('HSET', RUN, 'state', 'sealed', 'verdict', ARGV[1], 'exit_code', ARGV[2])
for _, key in ipairs({RUN, ROWS, COUNTERS}) do redis.call('PEXPIRE', key, ARGV[3]) end
redis.call('DEL', LEASES, STRIKES, SUSPECTS, AGAIN)
return 1

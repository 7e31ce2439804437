-- Moves the release cursor over seeded rows. ARGV: at most how many -> {from, to, index passed over, ...}
-- Whoever gets a range publishes its messages; a range whose publisher died is found by the sweeper.
local from = number(RUN, 'released')
local state = redis.call('HGET', RUN, 'state')
if state ~= 'submitting' and state ~= 'running' then return {from, from} end
return move_cursor(tonumber(ARGV[1]))

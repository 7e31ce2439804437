-- Moves the release cursor over seeded rows. ARGV: at most how many -> {from, to}
-- Whoever gets a range publishes its messages; a range whose publisher died is found by the sweeper.
local from, seeded = number(RUN, 'released'), number(RUN, 'seeded')
local state = redis.call('HGET', RUN, 'state')
if state ~= 'submitting' and state ~= 'running' then return {from, from} end
local to = math.min(seeded, from + tonumber(ARGV[1]))
local window = number(RUN, 'concurrency_max')
if window > 0 then
  to = math.min(to, math.max(from, number(COUNTERS, 'ended') + window))
end
if to > from then redis.call('HSET', RUN, 'released', to) end
return {from, to}

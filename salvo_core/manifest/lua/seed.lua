-- Makes pending rows from index lo on unless they are there. ARGV: lo, trace ids with a blank between two -> rows made
-- Twice is as good as once: a submission that died half way is simply sent again.
-- (One argument for all: a client packs a thousand of them ten times as slowly as the server takes them apart.)
local index, made = tonumber(ARGV[1]), 0
for trace_id in string.gmatch(ARGV[2], '%S+') do
  made = made + redis.call('HSETNX', ROWS, index, 'pending 0 ' .. trace_id)
  index = index + 1
end
if made > 0 then count('pending', made) end
if index > number(RUN, 'seeded') then redis.call('HSET', RUN, 'seeded', index) end
return made

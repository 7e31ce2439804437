-- Makes pending rows [lo, lo + n) unless they are there. ARGV: lo, trace_id... -> rows made
-- Twice is as good as once: a submission that died half way is simply sent again.
local lo, made = tonumber(ARGV[1]), 0
for i = 2, #ARGV do
  made = made + redis.call('HSETNX', ROWS, lo + i - 2, 'pending 0 ' .. ARGV[i])
end
if made > 0 then count('pending', made) end
local seeded = lo + #ARGV - 1
if seeded > number(RUN, 'seeded') then redis.call('HSET', RUN, 'seeded', seeded) end
return made

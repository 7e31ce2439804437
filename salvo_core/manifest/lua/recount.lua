-- Puts counters right, if nothing has happened since they were read: a recount of rows is true of one moment only.
-- ARGV: how many fields were read, then field, value as read, ..., then field, right value, ... -> 1 done, 0 it moved
local read = tonumber(ARGV[1])
for i = 2, 2 * read, 2 do
  if (redis.call('HGET', COUNTERS, ARGV[i]) or '0') ~= ARGV[i + 1] then return 0 end
end
for i = 2 * read + 2, #ARGV, 2 do
  if ARGV[i + 1] == '0' then
    redis.call('HDEL', COUNTERS, ARGV[i])
  else
    redis.call('HSET', COUNTERS, ARGV[i], ARGV[i + 1])
  end
end
settle()
return 1

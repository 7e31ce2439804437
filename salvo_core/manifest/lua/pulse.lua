-- Notes that a worker is heard; tells for how long leases must not be taken back yet.
-- KEYS[1] pulse.  ARGV: silence_ms, mercy_ms, 1 from a worker, 0 from who only asks -> ms that are left
-- When nobody was heard for so long, it was the server that could not be reached: those who hold trials
-- are given time to say so, before anything is taken from them.
local now = now_ms()
local heard = tonumber(redis.call('HGET', KEYS[1], 'heard_ms') or now)
local silent = now - heard > tonumber(ARGV[1])
if ARGV[3] == '0' then -- who is no worker changes nothing: it would end the silence for those who held trials in it
  if silent then return tonumber(ARGV[2]) end
  return math.max(0, tonumber(redis.call('HGET', KEYS[1], 'mercy_until_ms') or 0) - now)
end
if silent then redis.call('HSET', KEYS[1], 'mercy_until_ms', now + ARGV[2]) end
redis.call('HSET', KEYS[1], 'heard_ms', now)
return math.max(0, tonumber(redis.call('HGET', KEYS[1], 'mercy_until_ms') or 0) - now)

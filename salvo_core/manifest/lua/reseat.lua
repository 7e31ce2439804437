-- Gives a trial back to the attempt that held it when the server lost its memory, turns and all.
-- KEYS[6] journal  KEYS[7] budget  KEYS[8] reservations.  ARGV: index, attempt, worker, trace_id, lease_ms, what the
-- turns cost in nano_usd and in tokens, how many exchanges are not booked, of each: name, nano_usd, tokens, turn, ...
-- -> 1 held again, 0 somebody else's, or over, -1 there is no such run, or not yet
if redis.call('EXISTS', RUN) == 0 then return -1 end
local index, attempt, worker = ARGV[1], ARGV[2], ARGV[3]
if not holds(index, attempt, worker) then
  local status, begun, trace_id = read_row(index)
  if not status then return -1 end -- its run is being rebuilt, and the header is there before the rows
  -- Attempt 0 was never begun in this memory, so the row was made again and nobody else is at it.
  if status ~= 'pending' or begun ~= '0' or trace_id ~= ARGV[4] then return 0 end
  write_row(index, 'running', attempt, trace_id, worker)
  redis.call('HSETNX', RUN, 'started_ms', now_ms())
  count('pending', -1)
  count('running', 1)
  count('claims', 1)
  if redis.call('EXISTS', KEYS[7]) == 1 then -- books that were lost as well know only of trials that have ended
    redis.call('HINCRBY', KEYS[7], 'agent_nano_usd', ARGV[6])
    redis.call('HINCRBY', KEYS[7], 'agent_tokens', ARGV[7])
    for i = 9, 8 + 3 * ARGV[8], 3 do
      redis.call('HSET', KEYS[8], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
      redis.call('HINCRBY', KEYS[7], 'reserved_nano_usd', ARGV[i + 1])
      redis.call('HINCRBY', KEYS[7], 'reserved_tokens', ARGV[i + 2])
    end
  end
end
redis.call('ZADD', LEASES, now_ms() + tonumber(ARGV[5]), index)
for i = 9 + 3 * ARGV[8] + redis.call('LLEN', KEYS[6]), #ARGV do redis.call('RPUSH', KEYS[6], ARGV[i]) end
return 1

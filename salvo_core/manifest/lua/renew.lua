-- Prolongs the leases a worker holds in one run. ARGV: worker, lease_ms, then index, attempt, ...
-- -> {state of the run (state_told), index that is no longer held, ...}
local worker, ends = ARGV[1], now_ms() + tonumber(ARGV[2])
local reply = {state_told()}

local function set_strikes(index, strikes)
  if strikes > 0 then redis.call('HSET', STRIKES, index, strikes) else redis.call('HDEL', STRIKES, index) end
end

-- Strikes before this attempt's lease ended, and whether it was held as a suspect; nothing if that struck nobody.
local function struck(index, attempt)
  local told = redis.call('HGET', SUSPECTS, index .. ':struck:' .. attempt)
  if not told then return nil, false end
  local before, suspect = string.match(told, '^(%d+) (%d)$')
  return tonumber(before), suspect == '1'
end

-- True when the lease ended, nobody else has begun since, and so the attempt goes on as if nothing had been.
local function taken_back(index, attempt)
  local status, last_attempt, trace_id, holder = read_row(index)
  if status ~= 'pending' or last_attempt ~= attempt or holder ~= worker then return false end
  local before, suspect = struck(index, attempt)
  if suspect and not has_room(worker, before) then return false end
  write_row(index, 'running', attempt, trace_id, worker)
  if before then set_strikes(index, before) end
  if suspect then hold_suspect(index, worker, before) end
  local past = redis.call('HGET', SUSPECTS, index .. ':past') or ''
  local earlier = string.match(past, '^(.*)\n[^\n]*$')
  if earlier then redis.call('HSET', SUSPECTS, index .. ':past', earlier)
  else redis.call('HDEL', SUSPECTS, index .. ':past') end
  redis.call('HDEL', SUSPECTS, index .. ':struck:' .. attempt, 'blamed:' .. worker)
  count('pending', -1)
  count('running', 1)
  count('expired', -1)
  return true
end

-- A worker that speaks again has not crashed: what others do for it now was no strike. Bounded, or a
-- trial that stalls each of its workers would be tried for ever.
local function excuse(index, attempt)
  local status, last_attempt = read_row(index)
  if status ~= 'running' or tonumber(last_attempt) <= tonumber(attempt) then return end
  if tonumber(last_attempt) > 3 * number(RUN, 'attempts_max') then return end
  local strikes = number(STRIKES, index)
  if redis.call('HDEL', SUSPECTS, index .. ':struck:' .. attempt) == 0 or strikes == 0 then return end
  local on = redis.call('HGET', SUSPECTS, index .. ':on')
  if on then let_suspect_go(index) end
  set_strikes(index, strikes - 1)
  if on and strikes > 1 then hold_suspect(index, on, strikes - 1) end
end

for i = 3, #ARGV, 2 do
  local index, attempt = ARGV[i], ARGV[i + 1]
  if holds(index, attempt, worker) or taken_back(index, attempt) then
    redis.call('ZREM', LEASES, index)  -- first: a script that has freed something may write when memory is full
    redis.call('ZADD', LEASES, ends, index)
  else
    excuse(index, attempt)
    reply[#reply + 1] = index
  end
end
return reply

-- Prolongs the leases a worker holds in one run. ARGV: worker, lease_ms, then index, attempt, ...
-- -> {state of the run, index that is no longer held, ...}
local worker, ends = ARGV[1], now_ms() + tonumber(ARGV[2])
local reply = {redis.call('HGET', RUN, 'state') or 'unknown'}

local function unstrike(index)
  if redis.call('HINCRBY', STRIKES, index, -1) <= 0 then redis.call('HDEL', STRIKES, index) end
end

-- True when the lease ended, nobody else has begun since, and so the attempt goes on as if nothing had been.
local function taken_back(index, attempt)
  local status, last_attempt, trace_id, holder = read_row(index)
  if status ~= 'pending' or last_attempt ~= attempt or holder ~= worker then return false end
  write_row(index, 'running', attempt, trace_id, worker)
  unstrike(index)
  count('pending', -1)
  count('running', 1)
  count('expired', -1)
  return true
end

-- A worker that speaks again has not crashed: what others do for it now was no strike. Bounded, or a
-- trial that stalls each of its workers would be tried for ever.
local function excuse(index, attempt)
  local status, last_attempt = read_row(index)
  local others = tonumber(last_attempt or '0') > tonumber(attempt)
  local within = tonumber(last_attempt or '0') <= 3 * number(RUN, 'attempts_max')
  if status == 'running' and others and within and number(STRIKES, index) > 0 then unstrike(index) end
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

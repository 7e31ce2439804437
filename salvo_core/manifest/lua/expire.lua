-- Takes back trials whose lease ended without a word, and strikes those that may be to blame.
-- ARGV: at most how many, server ms at which the caller looked, 0 if it did not
-- -> indices that are pending again: publish their messages
-- The row still names its worker, which may be alive behind a broken line: `renew` gives it back to that one,
-- and takes back the strike, of which <index>:struck:<attempt> tells: strikes before it, 1 if held as a suspect.
-- A server that stood still hears old calls first, before those that would have kept the leases alive.
local now, attempts_max = now_ms(), number(RUN, 'attempts_max')
local crashes_max = math.max(2, number(RUN, 'crashes_max'))
if tonumber(ARGV[2]) > 0 and now - ARGV[2] > 5000 then return {} end
local again = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, ARGV[1])
for _, index in ipairs(again) do
  local _, attempt, trace_id, worker = read_row(index)
  redis.call('ZREM', LEASES, index)  -- first: a script that has freed something may write when memory is full
  local strikes = number(STRIKES, index)
  local before = strikes
  -- A worker's leases need not end in the same call: who was blamed for its end is remembered.
  local blamed = redis.call('HEXISTS', SUSPECTS, 'blamed:' .. worker) == 1
  local held = let_suspect_go(index)
  if held then
    local alone = held == weight_of(strikes) and not blamed
    strikes = strikes + 1
    -- Twice at the same place, and nobody else can have been it: no third worker is risked.
    if alone and strikes >= crashes_max then strikes = math.max(strikes, attempts_max) end
    redis.call('HSET', STRIKES, index, strikes)
    redis.call('HSET', SUSPECTS, 'blamed:' .. worker, 1)
  elseif not blamed and number(SUSPECTS, 'held:' .. worker) == 0 then
    strikes = strikes + 1
    redis.call('HSET', STRIKES, index, strikes)
  end
  if strikes > before then
    redis.call('HSET', SUSPECTS, index .. ':struck:' .. attempt, before .. (held and ' 1' or ' 0'))
  end
  local past = redis.call('HGET', SUSPECTS, index .. ':past')
  local lost = cjson.encode({attempt = tonumber(attempt), worker = worker, how = 'lost', at_ms = now})
  redis.call('HSET', SUSPECTS, index .. ':past', past and past .. '\n' .. lost or lost)
  write_row(index, 'pending', attempt, trace_id, worker)
  count('running', -1)
  count('pending', 1)
  count('expired', 1)
end
return again

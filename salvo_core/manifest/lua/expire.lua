-- Takes back trials whose lease ended without a word, and strikes those that may be to blame.
-- ARGV: at most how many -> indices that are pending again: publish their messages
local now, attempts_max = now_ms(), number(RUN, 'attempts_max')
local crashes_max = math.max(2, number(RUN, 'crashes_max'))
local again = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, ARGV[1])
for _, index in ipairs(again) do
  local _, attempt, trace_id, worker = read_row(index)
  local strikes = number(STRIKES, index)
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
    redis.call('HSET', STRIKES, index, strikes + 1)
  end
  local past = redis.call('HGET', SUSPECTS, index .. ':past')
  local lost = cjson.encode({attempt = tonumber(attempt), worker = worker, how = 'lost', at_ms = now})
  redis.call('HSET', SUSPECTS, index .. ':past', past and past .. '\n' .. lost or lost)
  write_row(index, 'pending', attempt, trace_id)
  redis.call('ZREM', LEASES, index)
  count('running', -1)
  count('pending', 1)
  count('expired', 1)
end
return again

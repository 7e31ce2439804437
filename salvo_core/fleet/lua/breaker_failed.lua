-- Notes that a provider failed. KEYS[1] its breaker.
-- ARGV: who asked, kind, 1 if it was a probe, 1 if such a failure opens at once, reason,
--       failures and trials that open it, window_ms, first wait_ms, longest wait_ms, kept_ms
-- -> the breaker's state now
local BREAKER, who, kind = KEYS[1], ARGV[1], ARGV[2]
local probe, at_once, reason = ARGV[3] == '1', ARGV[4] == '1', ARGV[5]
local failures_max, trials_max, window_ms = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local state = redis.call('HGET', BREAKER, 'state') or 'closed'

local function open(wait_ms)
  redis.call('HSET', BREAKER, 'state', 'open', 'kind', kind, 'reason', reason,
    'kept_ms', ARGV[11], 'due_ms', string.format('%.0f', now + wait_ms))
  redis.call('HSETNX', BREAKER, 'opened_ms', string.format('%.0f', now))
  redis.call('PEXPIRE', BREAKER, ARGV[11])
  return 'open'
end

if state == 'probing' then
  if probe and redis.call('HGET', BREAKER, 'prober') == who then
    local step = redis.call('HINCRBY', BREAKER, 'probes', 1)
    return open(math.min(tonumber(ARGV[9]) * 2 ^ math.min(step, 30), tonumber(ARGV[10])))
  end
  return state
end
if state == 'open' then -- sent before it opened; that the key is refused is news all the same
  if at_once and redis.call('HGET', BREAKER, 'kind') ~= kind then return open(tonumber(ARGV[9])) end
  return state
end
if at_once then return open(tonumber(ARGV[9])) end
-- A streak is of one kind, without a success in between, each failure within a window of the one before.
if redis.call('HGET', BREAKER, 'kind') ~= kind then redis.call('DEL', BREAKER) end
redis.call('HSET', BREAKER, 'state', 'closed', 'kind', kind)
local failures = redis.call('HINCRBY', BREAKER, 'failures', 1)
local trials = tonumber(redis.call('HGET', BREAKER, 'trials') or '0')
if trials < trials_max and redis.call('HSETNX', BREAKER, 'trial:' .. who, 1) == 1 then
  trials = redis.call('HINCRBY', BREAKER, 'trials', 1)
end
redis.call('PEXPIRE', BREAKER, window_ms)
if failures >= failures_max and trials >= trials_max then return open(tonumber(ARGV[9])) end
return 'closed'

-- Whether a provider may be asked now. KEYS[1] its breaker.  ARGV: who asks, probe_ms, turn_ms
-- -> {'go'} | {'probe'} ask, and say what came of it | {'wait', ms, state, kind, open for ms, reason}
-- turn_ms: whoever made the last probe leaves the next one to others for so long, so that a
-- conversation that fails for a reason of its own does not keep everybody waiting.
local BREAKER = KEYS[1]
local state = redis.call('HGET', BREAKER, 'state')
if not state or state == 'closed' then return {'go'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('PEXPIRE', BREAKER, redis.call('HGET', BREAKER, 'kept_ms') or 600000)
local seen = redis.call('HMGET', BREAKER, 'due_ms', 'prober', 'kind', 'opened_ms', 'reason')
local due = tonumber(seen[1])
if state == 'open' and seen[2] == ARGV[1] then due = due + tonumber(ARGV[3]) end
if now < due then return {'wait', due - now, state, seen[3], now - tonumber(seen[4]), seen[5]} end
redis.call('HSET', BREAKER, 'state', 'probing', 'prober', ARGV[1], 'due_ms', string.format('%.0f', now + ARGV[2]))
return {'probe'}

-- Notes that a provider said "too many requests": nobody asks it for a while, and then less often.
-- KEYS[1] the provider's limit (limit_acquire)
-- ARGV: worker, age_us of the exchange since it was let through, pause_us, requests/min that this worker had answered of
--   late, requests/min stated ('' none), factor of a cut, share of a rate that it grows by each second, least rate,
--   1 if it may cut, kept_ms, episode_us, factor of a guess's cut, soon_us
-- -> 1 if this cut the rate
-- One episode, one cut: exchanges that were let through before the rate was cut, or so soon after that the provider
-- had not felt it yet, say nothing of the rate since.
-- A first rate is a guess (1) and halves when it is refused; what came of it (2) may be too high yet by far.
local LIMIT, me = KEYS[1], ARGV[1]
local stated, factor, least = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[8])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function us(number) return string.format('%.0f', number) end

local seen = redis.call('HMGET', LIMIT, 'pause_us', 'cut_us', 'learned', 'guess', 'told', 'let')
local refused = redis.call('HINCRBY', LIMIT, 'refused', 1)
local pause = math.max(tonumber(seen[1] or 0), now + ARGV[3])
redis.call('HSET', LIMIT, 'pause_us', us(pause), 'grown_us', us(pause))
if redis.call('PTTL', LIMIT) < tonumber(ARGV[10]) then redis.call('PEXPIRE', LIMIT, ARGV[10]) end

local learned, told = tonumber(seen[3]), seen[5] or ''
if now - ARGV[2] <= tonumber(seen[2] or 0) + ARGV[11] then
  -- What the whole fleet had answered is known once each worker has told its part.
  if seen[4] == '1' and learned and not string.find(told, ' ' .. me .. ' ', 1, true) then
    redis.call('HSET', LIMIT, 'learned', learned + factor * ARGV[4], 'told', told .. me .. ' ')
  end
  return 0
end
if ARGV[9] ~= '1' then return 0 end

local before = math.min(stated or math.huge, learned or math.huge)
if stated then least = math.min(least, stated / 10) end
redis.call('HSET', LIMIT, 'cut_us', us(now), 'let', 0, 'refused', 0)
if before < math.huge then
  local rate, cut_us, guess = before * factor, tonumber(seen[2] or 0), 0
  if seen[4] == '1' then
    rate, guess = before * ARGV[12], 2
  elseif seen[4] == '2' and now <= math.max(cut_us + ARGV[11], tonumber(seen[1] or 0)) + ARGV[13] then
    -- Still too high, for it was refused when it was tried: what was let through and not refused says by how much.
    local got = (tonumber(seen[6] or 0) - refused) * 60000000 / (now - cut_us)
    rate, guess = math.min(rate, math.max(got, before / 4)), 2
  end
  redis.call('HSET', LIMIT, 'learned', math.max(rate, least), 'step', before * ARGV[7], 'guess', guess)
  redis.call('HDEL', LIMIT, 'told')
else
  local first = math.max(ARGV[4] * factor, least)
  redis.call('HSET', LIMIT, 'learned', first, 'step', first * ARGV[7], 'guess', 1, 'told', ' ' .. me .. ' ')
end
return 1

-- Lets exchanges with one provider begin, as many as its limits allow now and in the next moment.
-- KEYS[1] the provider's limit: requests_us, tokens_us (from when the next request and the next token is due),
--   pause_us, learned (requests/min), step, guess, grown_us, let (how many since it was cut), and what status tells
-- KEYS[2] its workers: name -> "until_ms held granted_ms waiting [run=waiting ...]"
-- ARGV: worker, held now, "waiting [run=waiting ...]" with those who ask, the same without them, lease_ms,
--   ahead_us, burst_us, requests/min, tokens/min, concurrency ('' has no limit), tokens billed beyond what was
--   estimated (negative: fewer), exchanges let through and not sent, kept_ms, what a guess becomes in each second (a
--   factor), how many ask, and, with a limit of tokens, the tokens of each
-- -> {why not all may, wait_us until it is worth asking again, 1 if there is a limit at all, delay_us of each who may ...}
-- What a worker holds is what it says, so a worker that comes back puts it right. A call that is sent twice, because
-- its answer was lost, grants what nobody uses and books a difference twice: the next minute does not know of it.
local LIMIT, WORKERS, me = KEYS[1], KEYS[2], ARGV[1]
local held, ahead, burst = tonumber(ARGV[2]), tonumber(ARGV[6]), tonumber(ARGV[7])
local per_min, tokens_per_min, most = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local asked = tonumber(ARGV[15])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local now_ms = math.floor(now / 1000)

local seen = redis.call('HMGET', LIMIT, 'requests_us', 'tokens_us', 'pause_us', 'learned', 'step', 'guess', 'grown_us')
local requests_us, tokens_us, pause_us = tonumber(seen[1] or 0), tonumber(seen[2] or 0), tonumber(seen[3] or 0)
local learned = tonumber(seen[4])
if not (per_min or tokens_per_min or most or learned) and pause_us <= now then return {'', 0, 0} end

-- A learned rate grows while it is what holds the fleet up: steadily, or, while it is a guess, ever faster: a guess
-- may be a fortieth of what is allowed, because a refusal comes back sooner than the first answer.
if learned then
  local grew_s = math.min((now - tonumber(seen[7])) / 1000000, 5)
  if grew_s > 0 then
    if requests_us > now then
      learned = seen[6] == '1' and learned * tonumber(ARGV[14]) ^ grew_s or learned + tonumber(seen[5]) * grew_s
    end
    if per_min and learned >= per_min then
      redis.call('HDEL', LIMIT, 'learned', 'step', 'guess', 'grown_us', 'told', 'let', 'refused')
      learned = nil
    else
      redis.call('HSET', LIMIT, 'learned', learned, 'grown_us', string.format('%.0f', now))
    end
  end
end
local rate = math.min(per_min or math.huge, learned or math.huge)

-- How many slots are free, and how many of them others are entitled to: each worker to its share by how many it
-- holds and has waiting, and one whose share is less than a slot to the next free one, who waited longest first.
local room = math.huge
local granted_ms = 0
local mine = redis.call('HGET', WORKERS, me)
if mine then granted_ms = tonumber(string.match(mine, '^%S+ %S+ (%S+)')) end
if most then
  local others, in_all = {}, held + (tonumber(string.match(ARGV[3], '^%d+')))
  room = most - held
  local entries = redis.call('HGETALL', WORKERS)
  for i = 1, #entries, 2 do
    if entries[i] ~= me then
      local until_ms, holds, granted, waiting = string.match(entries[i + 1], '^(%S+) (%S+) (%S+) (%d+)')
      if tonumber(until_ms) < now_ms then
        redis.call('HDEL', WORKERS, entries[i])
      else
        room = room - holds
        in_all = in_all + holds + waiting
        if tonumber(waiting) > 0 then
          others[#others + 1] = {tonumber(holds), tonumber(granted), tonumber(waiting)}
        end
      end
    end
  end
  for _, other in ipairs(others) do
    local share = math.floor(most * (other[1] + other[3]) / in_all)
    if share < 1 and other[2] < granted_ms then share = 1 end
    room = room - math.max(0, math.min(share - other[1], other[3]))
  end
end

if rate < math.huge then requests_us = requests_us - ARGV[12] * 60000000 / rate end
if tokens_per_min then tokens_us = tokens_us + ARGV[11] * 60000000 / tokens_per_min end
local floor = math.max(now - burst, pause_us)
local why, wait = '', 0
local reply = {'', 0, 1}
local granted = 0
while granted < asked do
  if granted >= room then
    why, wait = 'concurrency', 100000
    break
  end
  local by_request = rate < math.huge and math.max(requests_us, floor) or floor
  local by_token = tokens_per_min and math.max(tokens_us, floor) or floor
  local start = math.max(by_request, by_token)
  if start > now + ahead then
    why = pause_us >= start and 'pause' or by_token > by_request and 'tokens' or 'requests'
    wait = start - now - ahead / 2
    break
  end
  granted = granted + 1
  reply[3 + granted] = math.max(0, math.ceil(start - now))
  if rate < math.huge then requests_us = by_request + 60000000 / rate end
  if tokens_per_min then tokens_us = by_token + ARGV[15 + granted] * 60000000 / tokens_per_min end
end

local waiting = granted < asked and ARGV[3] or ARGV[4]
if granted > 0 then granted_ms = now_ms end
if learned then redis.call('HINCRBY', LIMIT, 'let', granted - ARGV[12]) end
redis.call('HSET', WORKERS, me, string.format('%.0f %d %.0f ', now_ms + ARGV[5], held + granted, granted_ms) .. waiting)
redis.call('PEXPIRE', WORKERS, ARGV[13])
if per_min or tokens_per_min or learned then
  redis.call('HSET', LIMIT, 'requests_us', string.format('%.0f', requests_us),
    'tokens_us', string.format('%.0f', tokens_us))
end
redis.call('HSET', LIMIT, 'why', why, 'requests_per_min', ARGV[8], 'tokens_per_min', ARGV[9], 'concurrency_max', ARGV[10])
-- What was learned is kept since it was learned; a limit that somebody states is kept while somebody asks.
if per_min or tokens_per_min or most then redis.call('PEXPIRE', LIMIT, ARGV[13]) end
reply[1], reply[2] = why, math.max(0, math.ceil(wait))
return reply
